//! The writes whose fence stands: what they committed is required although they have not returned,
//! if their process dies.

use crate::oracle::{Life, Oracle, PUSH, Required};

/// A write whose fence stands.
pub(super) struct Fenced {
    pub(super) life: Life,
    pub(super) key: u64,
    version: u64,
    committed: Option<u64>,
    pub(super) is_dead: bool,
}

impl Oracle {
    /// A fence of a process was not confirmed.
    pub(crate) fn unconfirmed(&mut self, life: Life, now: u64) {
        self.unconfirmed.push((life, now));
    }

    /// Whether a fence that was sent after `begun` was confirmed.
    pub(super) fn is_confirmed(&self, life: Life, begun: u64) -> bool {
        let mut unconfirmed = self.unconfirmed.iter();
        !unconfirmed.any(|(of, at)| *of == life && *at >= begun)
    }

    /// Valkey is available to a write, whose fence was sent after `begun`.
    pub(crate) fn fenced(&mut self, life: Life, key: u64, version: u64, begun: u64) {
        if self.are_fences_safe && self.is_confirmed(life, begun) {
            self.fenced.push(Fenced {
                life,
                key,
                version,
                committed: None,
                is_dead: false,
            });
        }
    }

    /// The database has executed a COMMIT.
    pub(crate) fn committed(&mut self, key: u64, version: u64, now: u64) {
        self.committed[key as usize].insert(version);
        for write in &mut self.fenced {
            if (write.key, write.version) == (key, version) {
                write.committed = Some(now);
            }
        }
    }

    pub(super) fn is_committed(&self, key: u64, version: u64) -> bool {
        self.committed[key as usize].contains(&version)
    }

    /// The process of a write has got an error from COMMIT, and removes its fence.
    pub(crate) fn given_up(&mut self, key: u64, version: u64) {
        self.fenced
            .retain(|write| (write.key, write.version) != (key, version));
    }

    /// A process has died. Returns how many of its writes were committed and not yet invalidated.
    pub(crate) fn killed(&mut self, life: Life) -> u64 {
        let mut count = 0;
        for write in self.fenced.iter_mut().filter(|write| write.life == life) {
            write.is_dead = true;
            count += u64::from(write.committed.is_some());
        }
        count
    }

    /// What the writes of processes that died require of a read.
    pub(super) fn require_of_dead(
        &self,
        (reader, key): (Life, u64),
        now: u64,
        required: &mut Required,
    ) {
        let push = self.reached.stretched(PUSH);
        for write in self
            .fenced
            .iter()
            .filter(|write| write.key == key && write.is_dead)
        {
            let Some(committed) = write.committed else {
                continue;
            };
            if committed < now {
                required.otherwise = required.otherwise.max(write.version);
            }
            let stood_still = self.reached.stood_still(reader, committed, now);
            if committed + push + stood_still < now {
                required.of_memory = required.of_memory.max(write.version);
            }
        }
    }
}
