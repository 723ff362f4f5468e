//! The judge: each read against the bounds that the README of the cache publishes.
//!
//! A write *returned* at some time. A read must return it, or a later one of its key, if the read
//! began after that time plus the bound of its process and its source:
//!
//! | | the writer's process | another one |
//! |---|---|---|
//! | without faults | 0 | 0; from memory 1 s |
//! | its invalidation was queued | 0 | TTL and lease, from memory 1 s more |
//! | Valkey failed over, and may have lost its invalidation | 0 | until the writer has reconnected, at most TTL and lease; from memory 1 s more |
//! | an older reader fills without a lease | its load and TTL more | likewise |
//!
//! A write whose process died, or whose COMMIT had an unknown outcome, has not returned. If its
//! process died after COMMIT, while its fence stood, reads return its value from COMMIT on, unless
//! a fault of the plan can remove the fence.

mod failover;

use crate::plan::Plan;
pub(crate) use crate::reached::Life;
use crate::reached::Reached;

/// The longest lag of memory, in milliseconds.
const PUSH: u64 = 1_000;
/// The life of a lease.
const LEASE: u64 = 5_000;

/// What a read must return at least.
#[derive(Clone, Copy)]
pub(crate) struct Required {
    pub(crate) of_memory: u64,
    pub(crate) otherwise: u64,
}

#[derive(Clone)]
struct Write {
    returned: u64,
    version: u64,
    writer: Option<Life>,
    is_queued: bool,
    /// When Valkey lost its invalidation, and the shard that did.
    lost: Option<(u64, usize)>,
}

/// A write whose fence stands.
struct Fenced {
    life: Life,
    key: u64,
    version: u64,
    committed: Option<u64>,
    is_dead: bool,
}

/// The writes that returned, by key, and the verdicts.
pub(crate) struct Oracle {
    keys: Vec<Vec<Write>>,
    pub(crate) reached: Reached,
    /// The times at which invalidations were queued.
    queued: Vec<(Life, u64, u64)>,
    unconfirmed: Vec<(Life, u64)>,
    fenced: Vec<Fenced>,
    /// The writes whose fences a replica has, by key and version.
    replicated: Vec<(u64, u64)>,
    are_fences_safe: bool,
    /// TTL and lease.
    lifetime: u64,
    /// How much longer an older reader may make a value stale.
    legacy: u64,
    pub(crate) reads: u64,
    pub(crate) memory_reads: u64,
    pub(crate) writes: u64,
    pub(crate) violation: Option<String>,
}

impl Oracle {
    pub(crate) fn new(plan: &Plan) -> Self {
        let legacy = match plan.legacy_readers {
            0 => 0,
            _ => plan.legacy_lag() + plan.ttl + 1_000,
        };
        Self {
            keys: vec![Vec::new(); plan.keys as usize],
            reached: Reached::new(plan),
            queued: Vec::new(),
            unconfirmed: Vec::new(),
            fenced: Vec::new(),
            replicated: Vec::new(),
            are_fences_safe: plan.are_fences_safe(),
            lifetime: plan.ttl + LEASE,
            legacy,
            reads: 0,
            memory_reads: 0,
            writes: 0,
            violation: None,
        }
    }

    /// Whether a process has ever queued an invalidation.
    pub(crate) fn has_queued(&self, life: Life) -> bool {
        self.queued.iter().any(|(of, ..)| *of == life)
    }

    /// A process has queued the invalidation of a key.
    pub(crate) fn queued(&mut self, life: Life, key: u64, now: u64) {
        self.queued.push((life, key, now));
    }

    /// A fence of a process was not confirmed.
    pub(crate) fn unconfirmed(&mut self, life: Life, now: u64) {
        self.unconfirmed.push((life, now));
    }

    /// Whether a fence that was sent after `begun` was confirmed.
    fn is_confirmed(&self, life: Life, begun: u64) -> bool {
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
        for write in &mut self.fenced {
            if (write.key, write.version) == (key, version) {
                write.committed = Some(now);
            }
        }
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

    /// A write has returned, which began at some time. Without a `writer` it is one of the older
    /// server.
    pub(crate) fn returned(
        &mut self,
        writer: Option<Life>,
        key: u64,
        version: u64,
        (begun, now): (u64, u64),
    ) {
        self.writes += 1;
        self.fenced
            .retain(|write| write.is_dead || Some(write.life) != writer || write.key != key);
        let is_queued = |(life, of, at): &(Life, u64, u64)| {
            Some(*life) == writer && (*of == key || *of == u64::MAX) && *at >= begun
        };
        let is_queued = self.queued.iter().any(is_queued);
        // Perhaps a former primary has its invalidation.
        let is_behind = writer.is_some_and(|life| self.reached.is_behind(life, key, now));
        let lost = (self.reached.promotion(key), self.reached.shard(key));
        let is_replicated = self.replicated.contains(&(key, version));
        self.keys[key as usize].push(Write {
            returned: now,
            version,
            writer,
            is_queued,
            lost: (is_behind && !is_replicated).then_some(lost),
        });
    }

    /// What a read that begins now must return.
    pub(crate) fn required(&mut self, reader: Life, key: u64, now: u64) -> Required {
        let mut required = Required {
            of_memory: 0,
            otherwise: 0,
        };
        let mut settled = 0;
        let is_behind = self.reached.is_behind(reader, key, now);
        let promotion = self.reached.promotion(key);
        let push = self.reached.stretched(PUSH);
        let writes = &self.keys[key as usize];
        for write in writes {
            let is_own = write.writer == Some(reader);
            // The former primary does not have it.
            if is_behind && !is_own && write.returned >= promotion {
                continue;
            }
            let visible = write.returned + self.legacy + if is_own { 0 } else { self.lag(write) };
            let stood_still = self.reached.stood_still(reader, write.returned, now);
            let of_memory = visible + if is_own { 0 } else { push + stood_still };
            if visible <= now {
                required.otherwise = required.otherwise.max(write.version);
            }
            if of_memory <= now {
                required.of_memory = required.of_memory.max(write.version);
            }
            if write.returned + self.reached.stretched(self.lifetime) + PUSH + self.legacy + 10_000
                <= now
            {
                settled = settled.max(write.version);
            }
        }
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
        if settled > 0 && writes.len() > 32 {
            self.keys[key as usize].retain(|write| write.version >= settled);
        }
        required
    }

    /// Judges a read.
    pub(crate) fn judge(
        &mut self,
        (reader, key): (Life, u64),
        (required, is_memory): (Required, bool),
        version: u64,
    ) -> bool {
        self.reads += 1;
        self.memory_reads += u64::from(is_memory);
        let least = match is_memory {
            true => required.of_memory,
            false => required.otherwise,
        };
        if version >= least {
            return true;
        }
        let source = if is_memory {
            "memory"
        } else {
            "Valkey or the loader"
        };
        self.fail(format!(
            "process life {reader} read version {version} of key {key} from {source}; version \
             {least} had returned before"
        ));
        false
    }

    /// Records the first violation.
    pub(crate) fn fail(&mut self, text: String) {
        self.violation.get_or_insert(text);
    }
}
