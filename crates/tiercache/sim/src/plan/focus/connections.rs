//! Connections that are slow, silent, or lost.

use rand::RngExt as _;
use rand::rngs::StdRng;

use crate::plan::focus::{FREQUENT_READS, READS, WRITES};
use crate::plan::{Fault, Plan, Reads, Writes, one_in, pick};

impl Plan {
    /// Processes often get no replies and pushes, while others write: their memory grows old.
    pub(super) fn with_silence(self, random: &mut StdRng) -> Self {
        let plan = Self {
            ttl: 20_000,
            has_memory: true,
            database_delay: pick(random, &[0, 2, 10]),
            delay: self.delay.min(3),
            ..self.plain()
        };
        let last = plan.processes - 1;
        let hold = |random: &mut StdRng| Fault::HoldIn {
            process: last,
            millis: random.random_range(1_100..3_000),
        };
        let plan = plan.with_writers(last, pick(random, &[60, 400]));
        plan.with_faults(random, 6, hold)
    }

    /// Connections are interrupted while nobody reads what memory holds, and others write it.
    pub(super) fn with_idle_readers(self, random: &mut StdRng) -> Self {
        let plan = Self {
            keys: 8,
            ttl: 20_000,
            has_memory: true,
            is_grouped: self.is_grouped,
            ..self.plain()
        };
        let processes = plan.processes;
        let refuse = |random: &mut StdRng| Fault::Refuse {
            process: random.random_range(0..processes),
            millis: random.random_range(20..900),
        };
        let writes = Writes {
            writers: 1,
            rows: 8,
            pause: pick(random, &[400, 3_000]),
            ..WRITES
        };
        let reads = Reads {
            readers: 2,
            pause: 1_500,
            ..READS
        };
        let plan = Self {
            reads,
            writes,
            ..plan
        };
        plan.with_faults(random, 6, refuse)
    }

    /// The replies to the last process are slow, and the others write fast.
    pub(super) fn with_slow_replies(self, random: &mut StdRng) -> Self {
        let plan = self.plain();
        let last = plan.processes - 1;
        let plan = Self {
            keys: 1,
            delay: 40,
            slow: Some(last),
            database_delay: pick(random, &[0, 2]),
            ttl: 20_000,
            reads: Reads {
                readers: 8,
                many: pick(random, &[0, 192]),
                ..READS
            },
            ..plan
        };
        plan.with_writers(last, pick(random, &[20, 60]))
    }

    /// A write follows another one before what the last process reads between them has arrived, and
    /// then there is none for some time.
    pub(super) fn with_pairs_of_writes(self, random: &mut StdRng) -> Self {
        let plan = self.plain();
        let plan = Self {
            keys: 1,
            delay: 40,
            slow: Some(plan.processes - 1),
            database_delay: pick(random, &[0, 2]),
            ttl: 20_000,
            has_memory: true,
            reads: FREQUENT_READS,
            writes: Writes {
                pairs: 128,
                puts: pick(random, &[0, 255]),
                ..WRITES
            },
            ..plan
        };
        plan.with_writers(1, 4_000)
    }

    /// The connections of the last process, which is slow, are often cut while it writes.
    pub(super) fn with_reconnections(self, random: &mut StdRng) -> Self {
        let plan = self.plain();
        let last = plan.processes - 1;
        let plan = Self {
            keys: 1,
            delay: pick(random, &[30, 60]),
            slow: Some(last),
            database_delay: 2,
            ttl: 20_000,
            writes: Writes {
                pause: 20,
                ..WRITES
            },
            ..plan
        };
        plan.with_faults(random, 40, move |_| Fault::Cut { process: last })
    }

    /// Connections lose all that is sent, without an error.
    pub(super) fn with_half_open_connections(self, random: &mut StdRng) -> Self {
        let processes = self.processes;
        let mute = |random: &mut StdRng| Fault::Mute {
            process: random.random_range(0..processes),
            tracking: one_in(random, 2),
        };
        self.with_faults(random, 3, mute)
    }
}
