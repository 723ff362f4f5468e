//! Worlds in which a certain kind of race is frequent. In most worlds it is rare.

mod connections;
mod processes;
mod servers;

use rand::RngExt as _;
use rand::rngs::StdRng;

use crate::plan::{Fault, Plan, Reads, Step, Stepped, Writes};

/// Frequent reads.
const READS: Reads = Reads {
    readers: 3,
    pause: 20,
    burst: 3,
    many: 0,
    peeks: 0,
    loading: 0,
};
/// Reads all the time, of many readers.
const FREQUENT_READS: Reads = Reads {
    readers: 8,
    pause: 8,
    ..READS
};
/// Writes of the cache, of one row each.
const WRITES: Writes = Writes {
    writers: 4,
    pause: 60,
    pairs: 0,
    rows: 1,
    puts: 0,
    rollbacks: 0,
    unknown: 0,
    elsewhere: 0,
    all: 64,
    operators: 0,
};

impl Plan {
    /// Two of three plans are focused.
    pub(super) fn focus(self, random: &mut StdRng) -> Self {
        match random.random_range(0..21_u32) {
            0 => self.with_crashes(random),
            1 => self.with_deaths_at_commit(random),
            2 => self.with_late_fences(random),
            3 => self.with_silence(random),
            4 => self.with_idle_readers(random),
            5 => self.with_slow_replies(random),
            6 => self.with_refusals(random),
            7 => self.with_reconnections(random),
            8 => self.with_failovers(random),
            9 => self.with_half_open_connections(random),
            10 => self.with_announcements(random),
            11 => self.with_memory_only(random),
            12 => self.with_refreshes(random),
            13 => self.with_lost_fences(random),
            14 => self.with_pairs_of_writes(random),
            _ => self,
        }
    }

    /// No clients and faults but those of the focus, at least two processes, and no group.
    fn plain(self) -> Self {
        Self {
            processes: self.processes.max(2),
            keys: self.keys.min(2),
            reads: READS,
            writes: WRITES,
            slow: None,
            is_grouped: false,
            legacy_readers: 0,
            legacy_writers: 0,
            faults: Vec::new(),
            stepped: Vec::new(),
            ..self
        }
    }

    /// Adds faults at random times.
    fn with_faults(
        mut self,
        random: &mut StdRng,
        count: usize,
        fault: impl Fn(&mut StdRng) -> Fault,
    ) -> Self {
        for _ in 0..count {
            let at = random.random_range(500..self.horizon);
            self.faults.push((at, fault(random)));
        }
        self.faults.sort_by_key(|(at, _)| *at);
        self
    }

    /// Adds faults at a step, each at the first one after a random time.
    fn with_steps(
        mut self,
        random: &mut StdRng,
        count: usize,
        step: Step,
        fault: impl Fn(&mut StdRng) -> Fault,
    ) -> Self {
        for _ in 0..count {
            let (at, fault) = (random.random_range(500..self.horizon), fault(random));
            self.stepped.push(Stepped { at, step, fault });
        }
        self
    }

    fn with_writers(self, writers: usize, pause: u64) -> Self {
        let writes = Writes {
            writers,
            pause,
            ..self.writes
        };
        Self { writes, ..self }
    }
}
