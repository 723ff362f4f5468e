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
//!
//! A last known value, which is served while the database is unavailable, must be what the bounds
//! required when it was loaded, by its age, and no older than a write of its process (`last_known.rs`).

mod failover;
mod fences;
pub(crate) mod last_known;

use std::collections::BTreeSet;

use crate::oracle::failover::Lost;
use crate::oracle::fences::Fenced;
use crate::oracle::last_known::LastKnown;
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
    /// Of a last known value, whatever its age: what the reader's process has written.
    pub(crate) own: u64,
}

impl Required {
    /// What both require.
    pub(crate) fn min(self, other: Self) -> Self {
        Self {
            of_memory: self.of_memory.min(other.of_memory),
            otherwise: self.otherwise.min(other.otherwise),
            own: self.own.min(other.own),
        }
    }
}

#[derive(Clone)]
struct Write {
    returned: u64,
    version: u64,
    writer: Option<Life>,
    is_queued: bool,
    /// Whether all keys were invalidated, which is repeated later than the invalidation of a key.
    is_of_all: bool,
    /// When Valkey lost its invalidation.
    lost: Option<Lost>,
}

/// The writes that returned, by key, and the verdicts.
pub(crate) struct Oracle {
    keys: Vec<Vec<Write>>,
    pub(crate) reached: Reached,
    pub(crate) last_known: LastKnown,
    is_grouped: bool,
    /// The committed versions of each key.
    committed: Vec<BTreeSet<u64>>,
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
            last_known: LastKnown::new(plan),
            is_grouped: plan.is_grouped,
            committed: vec![BTreeSet::from([0]); plan.keys as usize],
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
        let behind = writer.and_then(|life| self.reached.behind(life, key, now));
        let on_two = self.reached.on_two_since(key).map(|_| now);
        let lost = match self.is_replicated(key, version) {
            true => None,
            false => behind.or(on_two).map(|at| self.lost(key, at)),
        };
        self.keys[key as usize].push(Write {
            returned: now,
            version,
            writer,
            is_queued,
            is_of_all: false,
            lost,
        });
    }

    /// The last write of a key to return was invalidated with all keys.
    pub(crate) fn invalidated_all(&mut self, key: u64) {
        if let Some(write) = self.keys[key as usize].last_mut() {
            write.is_of_all = true;
        }
    }

    /// What a read that begins now, or began at that time, must return.
    pub(crate) fn required(&mut self, reader: Life, key: u64, now: u64) -> Required {
        let mut required = Required {
            of_memory: 0,
            otherwise: 0,
            own: 0,
        };
        let mut settled = 0;
        let behind = self.reached.behind(reader, key, now);
        let on_two = self.reached.on_two_since(key);
        let push = self.reached.stretched(PUSH);
        let writes = &self.keys[key as usize];
        for write in writes {
            let is_own = write.writer == Some(reader);
            // The former primary does not have it.
            let is_again = write.lost.is_some_and(|lost| lost.is_again);
            if !is_own && behind.is_some_and(|promoted| is_again || write.returned >= promoted) {
                continue;
            }
            if is_own && on_two.is_some_and(|begun| write.returned >= begun) {
                continue;
            }
            let visible = write.returned + self.legacy + if is_own { 0 } else { self.lag(write) };
            let stood_still = self.reached.stood_still(reader, write.returned, now);
            let of_memory = visible + if is_own { 0 } else { push + stood_still };
            if visible <= now {
                required.otherwise = required.otherwise.max(write.version);
                // Not of a group, whose last known values are those from before its writes, nor beside
                // older readers, whose fills replace later values.
                if is_own && !self.is_grouped && self.legacy == 0 {
                    required.own = required.own.max(write.version);
                }
            }
            if of_memory <= now {
                required.of_memory = required.of_memory.max(write.version);
            }
            let longest = self.reached.stretched(self.lifetime) + PUSH + self.legacy + 10_000;
            if write.returned + longest <= now && !self.last_known.is_used() {
                settled = settled.max(write.version);
            }
        }
        self.require_of_dead((reader, key), now, &mut required);
        if settled > 0 && writes.len() > 32 {
            self.keys[key as usize].retain(|write| write.version >= settled);
        }
        required
    }

    /// Judges a read.
    pub(crate) fn judge(
        &mut self,
        (reader, key): (Life, u64),
        (least, source): (u64, &str),
        version: Option<u64>,
    ) -> bool {
        self.reads += 1;
        let Some(version) = version.filter(|version| self.is_committed(key, *version)) else {
            self.fail(format!(
                "process life {reader} read {version:?} of key {key}, which was not committed"
            ));
            return false;
        };
        if version >= least {
            return true;
        }
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
