//! What a failover loses of the writes before it.

use crate::oracle::{Life, Oracle, Write};
use crate::reached::Reached;

/// When Valkey lost an invalidation.
#[derive(Clone, Copy)]
pub(super) struct Lost {
    at: u64,
    /// The shard that did.
    shard: usize,
    /// Whether the key may be on two shards, since its slot moved.
    has_moved: bool,
    /// Whether the slot moves still.
    is_moving: bool,
    /// Whether the former primary lacked it, too, since a failover before.
    pub(super) is_again: bool,
}

impl Oracle {
    /// The loss of the invalidation of a key.
    pub(super) fn lost(&self, key: u64, at: u64) -> Lost {
        Lost {
            at,
            shard: self.reached.shard(key),
            has_moved: self.reached.has_moved(key),
            is_moving: self.reached.on_two_since(key).is_some(),
            is_again: false,
        }
    }

    /// A replica has the fence of a write, if it was confirmed.
    pub(crate) fn replicated(&mut self, life: Life, key: u64, version: u64, begun: u64) {
        if self.is_confirmed(life, begun) {
            self.replicated.push((key, version));
        }
    }

    /// Whether the replica of the only shard that has a key has the fence of a write.
    pub(super) fn is_replicated(&self, key: u64, version: u64) -> bool {
        self.replicated.contains(&(key, version)) && !self.reached.has_moved(key)
    }

    /// Valkey failed over to a replica that lacks the changes since a time, among them perhaps
    /// invalidations that were repeated after an earlier failover.
    pub(crate) fn failed_over(&mut self, since: u64, now: u64) {
        for key in 0..self.keys.len() {
            self.lose_since((key as u64, self.lost(key as u64, now)), since);
        }
    }

    /// A replica was promoted that lacks the changes of some keys since a time, as above. Clients may
    /// use the former primary.
    pub(crate) fn promoted(&mut self, shard: usize, keys: &[u64], (since, now): (u64, u64)) {
        self.reached.promoted(shard, now);
        for key in keys {
            let lost = self.lost(*key, now);
            self.lose_since((*key, Lost { shard, ..lost }), since);
        }
    }

    /// The slot of a key has moved from a shard. If the key may have been on both, its invalidations
    /// were perhaps on the other one.
    pub(crate) fn moved(&mut self, key: u64, from: usize, now: u64) {
        if let Some(begun) = self.reached.end_move(key, from) {
            self.lose_since((key, self.lost(key, now)), begun);
        }
    }

    fn lose_since(&mut self, (key, lost): (u64, Lost), since: u64) {
        let mut writes = std::mem::take(&mut self.keys[key as usize]);
        for write in &mut writes {
            let is_again = write.is_lost_again(&self.reached, since);
            let is_lost = write.returned >= since || is_again;
            if is_lost && !self.is_replicated(key, write.version) {
                write.lost = Some(Lost { is_again, ..lost });
            }
        }
        self.keys[key as usize] = writes;
    }

    /// How long after its return a write may be invisible to other processes.
    pub(super) fn lag(&self, write: &Write) -> u64 {
        let mut lag = 0;
        let lifetime = self.reached.stretched(self.lifetime);
        if write.is_queued {
            lag = lifetime;
        }
        if let Some(lost) = write.lost {
            // The invalidation of all keys is repeated later than those of keys; that of an operator
            // is not.
            let repeats = write.writer.filter(|_| !write.is_of_all);
            let writer = repeats.filter(|_| !write.is_queued);
            let repeated = writer.and_then(|life| lost.repeated(life, &self.reached));
            let latest = repeats.filter(|_| !lost.is_moving);
            let latest = latest.and_then(|_| self.reached.deadline(lost.at));
            let latest = latest.unwrap_or(u64::MAX);
            let until = repeated.unwrap_or(u64::MAX).min(latest);
            let until = until.min(lost.at + lifetime);
            lag = lag.max(until.saturating_sub(write.returned));
        }
        lag
    }
}

impl Lost {
    /// When a process had repeated the invalidation. It is not known of a key that has moved, since
    /// a connection to one of its shards may repeat it.
    fn repeated(self, life: Life, reached: &Reached) -> Option<u64> {
        let repeated = reached.repeated_after(life, self.shard, self.at);
        repeated.filter(|_| !self.has_moved)
    }
}

impl Write {
    /// Whether the promotion of a replica that lacks the changes since a time loses the repeated
    /// invalidation, too, if there has been one at all.
    fn is_lost_again(&self, reached: &Reached, since: u64) -> bool {
        let Some(lost) = self.lost else {
            return false;
        };
        let is_lost = |life| lost.repeated(life, reached).is_none_or(|at| at >= since);
        self.writer.is_some_and(is_lost)
    }
}
