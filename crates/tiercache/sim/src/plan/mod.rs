//! The plan of a history, which its seed determines: the size of the world, its traffic, its
//! faults, and when they happen.

mod fault;
mod focus;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tiercache::simulated::Mutant;

use crate::setup::Setup;
pub(crate) use fault::{Fault, Step, Stepped};

/// A plan.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) mutant: Option<Mutant>,
    pub(crate) processes: usize,
    pub(crate) keys: u64,
    /// The TTL in milliseconds.
    pub(crate) ttl: u64,
    /// When reads and writes end.
    pub(crate) horizon: u64,
    pub(crate) reads: Reads,
    pub(crate) writes: Writes,
    /// The longest ordinary delay of a message.
    pub(crate) delay: u64,
    /// The only process that has that delay; the other ones have next to none.
    pub(crate) slow: Option<usize>,
    /// The longest ordinary delay of the database.
    pub(crate) database_delay: u64,
    /// The chance, of 256, that a task is delayed.
    pub(crate) delayed: u8,
    /// Whether values are kept in memory.
    pub(crate) has_memory: bool,
    /// Whether they are kept only there.
    pub(crate) is_unshared: bool,
    /// Whether keys belong to a group.
    pub(crate) is_grouped: bool,
    /// The readers and writers of the older server.
    pub(crate) legacy_readers: usize,
    pub(crate) legacy_writers: usize,
    pub(crate) faults: Vec<(u64, Fault)>,
    pub(crate) stepped: Vec<Stepped>,
    pub(crate) setup: Setup,
}

/// The reads of each process. Shares are of 256.
#[derive(Clone, Debug)]
pub(crate) struct Reads {
    pub(crate) readers: usize,
    /// The longest pause of a reader.
    pub(crate) pause: u64,
    /// The reads between two pauses.
    pub(crate) burst: u32,
    /// The share of reads of several keys.
    pub(crate) many: u8,
    /// The share of reads without a loader.
    pub(crate) peeks: u8,
    /// The longest time that a loader takes after its SELECT.
    pub(crate) loading: u64,
}

/// The writes of a process. Shares are of 256.
#[derive(Clone, Debug)]
pub(crate) struct Writes {
    /// The first processes write.
    pub(crate) writers: usize,
    /// The longest pause between the writes of a process; 0 for no writes.
    pub(crate) pause: u64,
    /// The share that another one follows at once.
    pub(crate) pairs: u8,
    /// The most rows of a transaction.
    pub(crate) rows: u64,
    /// The share that store their value.
    pub(crate) puts: u8,
    /// The share whose transaction is rolled back after its fences were raised.
    pub(crate) rollbacks: u8,
    /// The share of commits whose outcome their client does not learn.
    pub(crate) unknown: u8,
    /// The share of changes that are made without the cache, which then invalidates the keys.
    pub(crate) elsewhere: u8,
    /// The share of these for which it invalidates all keys.
    pub(crate) all: u8,
    /// The share of changes that are made without the cache, after which an operator deletes the
    /// keys in Valkey.
    pub(crate) operators: u8,
}

/// The reads of a history, above which it is shorter.
const MOST_READS: u64 = 12_000;
/// The shortest horizon, in milliseconds.
const SHORTEST: u64 = 4_000;

/// The longest time in milliseconds that a large reply may take while its bytes arrive.
const ARRIVING: u64 = 5_000;

/// One of some values.
pub(crate) fn pick<T: Copy>(random: &mut StdRng, values: &[T]) -> T {
    values[random.random_range(0..values.len())]
}

fn one_in(random: &mut StdRng, n: u32) -> bool {
    random.random_range(0..n) == 0
}

impl Reads {
    fn random(random: &mut StdRng) -> Self {
        let burst = pick(random, &[1, 6, 6, 6, 24]);
        Self {
            readers: pick(random, &[1, 2, 3, 3, 8]),
            // So that no history has too many reads.
            pause: match burst {
                24 => pick(random, &[60, 300]),
                _ => pick(random, &[8, 20, 60, 300]),
            },
            burst,
            many: pick(random, &[0, 0, 32, 192]),
            peeks: pick(random, &[0, 0, 16]),
            loading: pick(random, &[0, 0, 0, 400]),
        }
    }
}

impl Writes {
    fn random(random: &mut StdRng, processes: usize) -> Self {
        let writers = match one_in(random, 3) {
            true => 1,
            false => processes,
        };
        Self {
            writers,
            pause: pick(random, &[0, 60, 400, 1_500, 4_000]),
            pairs: 0,
            rows: pick(random, &[1, 1, 2, 8]),
            puts: pick(random, &[0, 0, 128]),
            rollbacks: pick(random, &[0, 0, 24]),
            unknown: pick(random, &[0, 0, 40]),
            elsewhere: pick(random, &[0, 0, 48, 192]),
            all: pick(random, &[64, 255]),
            operators: pick(random, &[0, 0, 0, 48]),
        }
    }
}

impl Plan {
    /// The plan of a seed with one server.
    pub(crate) fn drawn(seed: u64, mutant: Option<Mutant>) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let random = &mut random;
        let processes = random.random_range(1..=4);
        let keys = pick(random, &[1, 1, 2, 4]);
        let horizon = random.random_range(6_000..16_000);
        let has_legacy = one_in(random, 6);
        let mut plan = Self {
            seed,
            mutant,
            processes,
            keys,
            ttl: pick(random, &[1_500, 4_000, 4_000, 10_000, 20_000]),
            horizon,
            reads: Reads::random(random),
            writes: Writes::random(random, processes),
            delay: pick(random, &[0, 1, 3, 8, 30]),
            slow: one_in(random, 4).then(|| random.random_range(0..processes)),
            database_delay: pick(random, &[0, 2, 10, 60, 300]),
            delayed: pick(random, &[0, 8, 64, 128]),
            has_memory: !one_in(random, 5),
            is_unshared: false,
            is_grouped: one_in(random, 4),
            legacy_readers: usize::from(has_legacy && one_in(random, 2)),
            legacy_writers: usize::from(has_legacy),
            faults: Vec::new(),
            stepped: Vec::new(),
            setup: Setup::default(),
        };
        plan.add_faults(random);
        plan.focus(random).with_limited_reads()
    }

    /// A history with very frequent reads is shorter, with the same faults: so that no history takes as
    /// long as many others.
    fn with_limited_reads(mut self) -> Self {
        let Reads {
            readers,
            pause,
            burst,
            ..
        } = self.reads;
        let in_a_pause = (self.processes * readers) as u64 * u64::from(burst);
        let planned = in_a_pause * self.horizon / (pause / 2 + 1);
        if planned <= MOST_READS {
            return self;
        }
        let horizon = (self.horizon * MOST_READS / planned)
            .max(SHORTEST)
            .min(self.horizon);
        let earlier = |at: &mut u64| *at = *at * horizon / self.horizon;
        self.faults.iter_mut().for_each(|(at, _)| earlier(at));
        self.stepped
            .iter_mut()
            .for_each(|step| earlier(&mut step.at));
        self.horizon = horizon;
        self
    }

    fn add_faults(&mut self, random: &mut StdRng) {
        let mut bits = || random.random::<u32>();
        let kinds = match bits() % 4 {
            0 => 0,
            1 => bits() & bits() & bits(),
            2 => bits() & bits(),
            _ => bits(),
        };
        let size = fault::Size {
            processes: self.processes,
            keys: self.keys,
        };
        for _ in 0..random.random_range(1..=10) {
            let fault = fault::random(random, kinds, size);
            let at = random.random_range(500..self.horizon);
            self.faults.extend(fault.map(|fault| (at, fault)));
        }
        self.faults.sort_by_key(|(at, _)| *at);
        if kinds > 0 && one_in(random, 3) {
            let count = random.random_range(1..=8);
            let step = |_| fault::random_step(random, self.processes, self.horizon);
            self.stepped = (0..count).map(step).collect();
        }
    }

    /// Whether nothing but their own writers, and time, removes fences.
    pub(crate) fn are_fences_safe(&self) -> bool {
        let keep = |(_, fault): &(u64, Fault)| fault.keeps_fences();
        !self.is_grouped
            && self.legacy_writers == 0
            && !self.is_unshared
            && self.writes.operators == 0
            && self.faults.iter().all(keep)
    }

    /// Whether a process may be suspended at some time.
    pub(crate) fn suspends(&self, process: usize) -> bool {
        let timed = self.faults.iter().map(|(_, fault)| fault);
        let mut faults = timed.chain(self.stepped.iter().map(|stepped| &stepped.fault));
        faults.any(|fault| matches!(fault, Fault::Pause { process: of, .. } if *of == process))
    }

    /// The longest time in milliseconds that a read of some keys may take, unless its process is
    /// suspended: it may wait for a fetch that has begun, and for one of its own, each with commands
    /// that time out, a wait for the lease of another process, and a load.
    pub(crate) fn longest_read(&self, keys: usize) -> u64 {
        let is_slow = |(_, fault): &(u64, Fault)| matches!(fault, Fault::SlowDatabase { .. });
        let slow = if self.faults.iter().any(is_slow) {
            900
        } else {
            0
        };
        let load = 2 * (self.database_delay + slow) + self.reads.loading;
        // The value, and that which GETLEASE finds.
        let arriving = match self.setup.padding {
            0 => 0,
            _ => 2 * ARRIVING,
        };
        2 * (500 + arriving + load * keys as u64)
    }

    /// The longest time in milliseconds that an older reader may take between its read of the
    /// database and its write to Valkey.
    pub(crate) fn legacy_lag(&self) -> u64 {
        self.database_delay + 20
    }
}
