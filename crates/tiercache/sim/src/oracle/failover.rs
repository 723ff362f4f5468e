//! What a failover loses of the writes before it.

use crate::oracle::{Life, Oracle, Write};
use crate::reached::Reached;

impl Oracle {
    /// A replica has the fence of a write, if it was confirmed.
    pub(crate) fn replicated(&mut self, life: Life, key: u64, version: u64, begun: u64) {
        if self.is_confirmed(life, begun) {
            self.replicated.push((key, version));
        }
    }

    /// Valkey failed over to a replica that lacks the changes since a time, among them perhaps
    /// invalidations that were repeated after an earlier failover.
    pub(crate) fn failed_over(&mut self, since: u64, now: u64) {
        let reached = &self.reached;
        for write in self.keys.iter_mut().flatten() {
            if write.returned >= since || write.is_lost_again(reached, since) {
                write.lost = Some((now, 0));
            }
        }
    }

    /// A replica was promoted that lacks the changes of some keys since a time, as above. Clients may
    /// use the former primary.
    pub(crate) fn promoted(&mut self, shard: usize, keys: &[u64], (since, now): (u64, u64)) {
        self.reached.promoted(shard, now);
        for key in keys {
            let reached = &self.reached;
            let is_lost = |write: &&mut Write| {
                let is_late = write.returned >= since || write.is_lost_again(reached, since);
                is_late && !self.replicated.contains(&(*key, write.version))
            };
            for write in self.keys[*key as usize].iter_mut().filter(is_lost) {
                write.lost = Some((now, shard));
            }
        }
    }

    /// How long after its return a write may be invisible to other processes.
    pub(super) fn lag(&self, write: &Write) -> u64 {
        let mut lag = 0;
        let lifetime = self.reached.stretched(self.lifetime);
        if write.is_queued {
            lag = lifetime;
        }
        if let Some((lost, shard)) = write.lost {
            // The invalidation of all keys is repeated later than those of keys; that of an operator
            // is not.
            let repeats = write.writer.filter(|_| !write.is_of_all);
            let writer = repeats.filter(|_| !write.is_queued);
            let repeated = writer.and_then(|life| self.reached.repeated_after(life, shard, lost));
            let latest = repeats.and_then(|_| self.reached.deadline(lost));
            let latest = latest.unwrap_or(u64::MAX);
            let until = repeated.unwrap_or(u64::MAX).min(latest);
            let until = until.min(lost + lifetime);
            lag = lag.max(until.saturating_sub(write.returned));
        }
        lag
    }
}

impl Write {
    /// Whether the promotion of a replica that lacks the changes since a time loses the repeated
    /// invalidation, too, if there has been one at all.
    fn is_lost_again(&self, reached: &Reached, since: u64) -> bool {
        let Some((lost, shard)) = self.lost else {
            return false;
        };
        let repeated = |life| reached.repeated_after(life, shard, lost);
        let is_lost = |life| repeated(life).is_none_or(|at| at >= since);
        self.writer.is_some_and(is_lost)
    }
}
