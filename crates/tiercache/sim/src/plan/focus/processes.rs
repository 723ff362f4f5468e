//! Processes that die, while others depend on their fences.

use std::ops::Range;

use rand::RngExt as _;
use rand::rngs::StdRng;

use crate::plan::{Fault, Plan, Step, pick};

impl Plan {
    /// Processes often die while they write: then only a fence protects what they committed.
    pub(super) fn with_crashes(self, random: &mut StdRng) -> Self {
        let plan = Self {
            reads: self.reads.clone(),
            database_delay: 60,
            ..self.plain()
        };
        let crash = crash(plan.processes, 20..400);
        plan.with_faults(random, 24, crash)
    }

    /// The only writer dies when its COMMIT has been executed, while others have loaded under its
    /// fence, or failed to, and released their leases.
    pub(super) fn with_deaths_at_commit(self, random: &mut StdRng) -> Self {
        let plan = Self {
            database_delay: pick(random, &[60, 300]),
            delay: self.delay.min(8),
            ttl: 20_000,
            has_memory: true,
            ..self.plain()
        };
        let crash = |random: &mut StdRng| Fault::Crash {
            process: 0,
            millis: random.random_range(1_500..4_000),
        };
        let plan = plan.with_writers(1, pick(random, &[400, 1_500]));
        let plan = plan.with_steps(random, 6, Step::Commit, crash);
        let outage = |random: &mut StdRng| Fault::NoDatabase {
            millis: random.random_range(20..300),
        };
        let count = pick(random, &[0, 12]);
        plan.with_faults(random, count, outage)
    }

    /// Fences and invalidations of the first process arrive late, while the second one holds a fence
    /// for some time, commits, and dies.
    pub(super) fn with_late_fences(self, random: &mut StdRng) -> Self {
        let plan = Self {
            processes: 3,
            keys: 1,
            delay: self.delay.min(3),
            database_delay: pick(random, &[2, 10]),
            ttl: 20_000,
            ..self.plain()
        };
        let hold = |random: &mut StdRng| Fault::HoldOut {
            process: 0,
            millis: random.random_range(200..450),
        };
        let pause = |_: &mut StdRng| Fault::Pause {
            process: 1,
            millis: 300,
        };
        let crash = |random: &mut StdRng| Fault::Crash {
            process: 1,
            millis: random.random_range(20..100),
        };
        let plan = plan.with_writers(2, 60).with_faults(random, 16, hold);
        let plan = plan.with_steps(random, 32, Step::Fence, pause);
        plan.with_steps(random, 24, Step::Commit, crash)
    }
}

/// A crash of a process, which then stays dead for some time.
fn crash(processes: usize, dead: Range<u64>) -> impl Fn(&mut StdRng) -> Fault {
    move |random| Fault::Crash {
        process: random.random_range(0..processes),
        millis: random.random_range(dead.clone()),
    }
}
