//! Servers that fail over or refuse changes, changes without the cache, early refresh, and memory only.

use std::ops::Range;

use rand::RngExt as _;
use rand::rngs::StdRng;

use crate::plan::focus::{FREQUENT_READS, READS, WRITES};
use crate::plan::{Fault, Plan, Reads, Step, Writes, pick};

impl Plan {
    /// Valkey often refuses to change anything, and loads take longer than writes.
    pub(super) fn with_refusals(self, random: &mut StdRng) -> Self {
        let plan = Self {
            processes: pick(random, &[1, 2]),
            keys: 1,
            delay: self.delay.min(8),
            database_delay: 2,
            reads: Reads {
                readers: 8,
                pause: 300,
                burst: 1,
                loading: 400,
                ..READS
            },
            ..self.plain()
        };
        let refuse = |random: &mut StdRng| Fault::ReadOnly {
            millis: random.random_range(50..200),
        };
        let pause = pick(random, &[150, 400]);
        let plan = plan.with_writers(1, pause);
        plan.with_steps(random, 24, Step::Lease, refuse)
    }

    /// Fences are evicted, and others fill what precedes the COMMIT, so that the value of the write
    /// cannot be stored. Its process reads meanwhile, and is late to keep what it has read.
    pub(super) fn with_lost_fences(self, random: &mut StdRng) -> Self {
        let writes = Writes {
            writers: 1,
            puts: 255,
            pause: pick(random, &[150, 700]),
            ..WRITES
        };
        let plan = Self {
            keys: 1,
            delay: pick(random, &[8, 30]),
            database_delay: pick(random, &[60, 120]),
            ttl: 20_000,
            has_memory: true,
            delayed: 128,
            reads: FREQUENT_READS,
            writes,
            ..self.plain()
        };
        plan.with_steps(random, 48, Step::Fence, |_| Fault::Evict { key: 0 })
    }

    /// Replicas are promoted that lag, and the first process, which alone writes, is slow.
    pub(super) fn with_failovers(self, random: &mut StdRng) -> Self {
        let plan = Self {
            delay: 40,
            ttl: 20_000,
            ..self.plain()
        };
        let plan = Self {
            slow: Some(0),
            ..plan
        };
        let pause = pick(random, &[400, 1_500]);
        let plan = plan.with_writers(1, pause);
        plan.with_faults(random, 6, promote(100..4_000))
    }

    /// Changes are made without the cache, and are announced to it or to Valkey.
    pub(super) fn with_announcements(self, random: &mut StdRng) -> Self {
        let plan = self.plain();
        let writes = Writes {
            rows: pick(random, &[1, 4]),
            elsewhere: pick(random, &[128, 255]),
            all: pick(random, &[64, 255]),
            operators: pick(random, &[0, 48]),
            pause: 400,
            ..WRITES
        };
        let reads = Reads {
            readers: 2,
            pause: pick(random, &[20, 900]),
            ..READS
        };
        let plan = Self {
            keys: pick(random, &[1, 4]),
            ttl: 20_000,
            reads,
            writes,
            ..plan
        };
        let count = pick(random, &[0, 0, 4]);
        plan.with_faults(random, count, promote(100..4_000))
    }

    /// Values in memory are often refreshed, which takes longer than a write.
    pub(super) fn with_refreshes(self, random: &mut StdRng) -> Self {
        let reads = Reads {
            loading: 400,
            ..READS
        };
        let plan = Self {
            keys: 1,
            ttl: 1_500,
            has_memory: true,
            database_delay: 2,
            delay: self.delay.min(8),
            reads,
            ..self.plain()
        };
        let (writers, pause) = (plan.processes, pick(random, &[1_500, 4_000]));
        plan.with_writers(writers, pause)
    }

    /// Values are kept in memory only.
    pub(super) fn with_memory_only(self, random: &mut StdRng) -> Self {
        let elsewhere = pick(random, &[0, 48]);
        let writes = Writes {
            elsewhere,
            pause: self.writes.pause.min(400),
            ..WRITES
        };
        let reads = Reads {
            loading: pick(random, &[0, 100, 400]),
            ..READS
        };
        let stays = |(_, fault): &(u64, Fault)| fault.process().is_none_or(|process| process == 0);
        let faults = self.faults.iter().copied().filter(stays).collect();
        Self {
            processes: 1,
            faults,
            reads,
            writes,
            has_memory: true,
            is_unshared: true,
            ..self.plain()
        }
    }
}

/// The promotion of a replica that lags.
fn promote(lag: Range<u64>) -> impl Fn(&mut StdRng) -> Fault {
    move |random| Fault::Failover {
        lag: random.random_range(lag.clone()),
    }
}
