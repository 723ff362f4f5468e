//! What a failover loses of the writes before it.

use crate::oracle::{Life, Oracle, Write};

impl Oracle {
    /// A replica has the fence of a write, if it was confirmed.
    pub(crate) fn replicated(&mut self, life: Life, key: u64, version: u64, begun: u64) {
        if self.is_confirmed(life, begun) {
            self.replicated.push((key, version));
        }
    }

    /// Valkey failed over to a replica that lacks the changes since a time.
    pub(crate) fn failed_over(&mut self, since: u64, now: u64) {
        let writes = self.keys.iter_mut().flatten();
        for write in writes.filter(|write| write.returned >= since) {
            write.lost = Some((now, 0));
        }
    }

    /// A replica was promoted that lacks the changes of some keys since a time. Clients may use the
    /// former primary.
    pub(crate) fn promoted(&mut self, shard: usize, keys: &[u64], (since, now): (u64, u64)) {
        self.reached.promoted(shard, now);
        for key in keys {
            let is_lost = |write: &&mut Write| {
                write.returned >= since && !self.replicated.contains(&(*key, write.version))
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
            let writer = write.writer.filter(|_| !write.is_queued);
            let reconnected =
                writer.and_then(|life| self.reached.connected_after(life, shard, lost));
            let latest = self.reached.deadline(lost).unwrap_or(u64::MAX);
            let until = reconnected.unwrap_or(u64::MAX).min(latest);
            let until = until.min(lost + lifetime);
            lag = lag.max(until.saturating_sub(write.returned));
        }
        lag
    }
}
