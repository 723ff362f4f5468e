//! The plan of a history, which its seed determines: the size of the world, its faults, and when
//! they happen.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tiercache::simulated::Mutant;

use crate::setup::Setup;

/// A fault. Times are in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connections of a process are reset.
    Cut { process: usize },
    /// Valkey closes the connections of a process.
    Close { process: usize },
    /// All connections are reset.
    CutAll,
    /// What a process sends waits.
    HoldOut { process: usize, millis: u64 },
    /// What a process is sent waits.
    HoldIn { process: usize, millis: u64 },
    /// The connections of a process are reset, and none is accepted.
    Refuse { process: usize, millis: u64 },
    /// A process is suspended.
    Pause { process: usize, millis: u64 },
    /// A process dies, and is started again.
    Crash { process: usize, millis: u64 },
    /// Valkey restarts without its keys.
    Restart,
    /// A replica is promoted that lags.
    Failover { lag: u64 },
    /// The replica of a primary is promoted, and lacks what was written in the last `lag`. The former
    /// primary dies, or takes writes for another `split`. It returns as a replica.
    Promote {
        shard: usize,
        lag: u64,
        split: u64,
        back: u64,
    },
    /// The slot of a key moves to another node; the slot of the group's key after the last.
    MoveSlot { key: u64, to: usize, millis: u64 },
    /// FLUSHALL.
    Flush,
    /// SCRIPT FLUSH.
    ForgetScripts,
    /// Valkey evicts a key.
    Evict { key: u64 },
    /// A key gets another type.
    Retype { key: u64 },
    /// A key gets an invalid payload.
    Corrupt { key: u64 },
    /// Valkey's clock jumps ahead.
    Jump { millis: u64 },
    /// The database refuses statements.
    NoDatabase { millis: u64 },
    /// The database executes statements late.
    SlowDatabase { millis: u64 },
}

const KINDS: u32 = 18;

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
    pub(crate) readers: usize,
    /// The longest pause between the reads of a reader.
    pub(crate) read_pause: u64,
    /// The longest pause between the writes of a process; 0 for no writes.
    pub(crate) write_pause: u64,
    /// The longest ordinary delay of a message.
    pub(crate) delay: u64,
    /// The longest ordinary delay of the database.
    pub(crate) database_delay: u64,
    /// The chance, of 256, that a task is delayed.
    pub(crate) delayed: u8,
    /// Whether values are kept in memory.
    pub(crate) has_memory: bool,
    /// Whether keys belong to a group.
    pub(crate) is_grouped: bool,
    /// The share of writes, of 256, that store their value.
    pub(crate) puts: u8,
    /// The share of commits, of 256, whose outcome their client does not learn.
    pub(crate) unknown: u8,
    /// The readers and writers of the older server.
    pub(crate) legacy_readers: usize,
    pub(crate) legacy_writers: usize,
    pub(crate) faults: Vec<(u64, Fault)>,
    pub(crate) setup: Setup,
}

impl Plan {
    /// The plan of a seed with one server.
    pub(crate) fn drawn(seed: u64, mutant: Option<Mutant>) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let random = &mut random;
        let one_in = |random: &mut StdRng, n: u32| random.random_range(0..n) == 0;
        let processes = random.random_range(1..=4);
        let keys = [1, 1, 2, 4][random.random_range(0..4)];
        let horizon = random.random_range(6_000..16_000);
        let kinds = match random.random_range(0..4_u32) {
            0 => 0,
            1 => random.random::<u32>() & random.random::<u32>() & random.random::<u32>(),
            2 => random.random::<u32>() & random.random::<u32>(),
            _ => random.random(),
        };
        let count = random.random_range(1..=10);
        let mut faults: Vec<(u64, Fault)> = (0..count)
            .filter_map(|_| {
                let fault = fault(random, kinds, processes, keys)?;
                Some((random.random_range(500..horizon), fault))
            })
            .collect();
        faults.sort_by_key(|(at, _)| *at);
        let has_legacy = one_in(random, 6);
        let plan = Self {
            seed,
            mutant,
            processes,
            keys,
            ttl: [1_500, 4_000, 4_000, 10_000, 20_000][random.random_range(0..5)],
            horizon,
            readers: random.random_range(1..=3),
            read_pause: [4, 20, 60, 300][random.random_range(0..4)],
            write_pause: [0, 60, 400, 1_500, 4_000][random.random_range(0..5)],
            delay: [0, 1, 3, 8, 30][random.random_range(0..5)],
            database_delay: [0, 2, 10, 60, 300][random.random_range(0..5)],
            delayed: [0, 8, 64, 128][random.random_range(0..4)],
            has_memory: !one_in(random, 5),
            is_grouped: one_in(random, 4),
            puts: if one_in(random, 3) { 128 } else { 0 },
            unknown: if one_in(random, 3) { 40 } else { 0 },
            legacy_readers: usize::from(has_legacy && one_in(random, 2)),
            legacy_writers: usize::from(has_legacy),
            faults,
            setup: Setup::default(),
        };
        match random.random_range(0..12_u32) {
            0 | 1 => plan.with_crashes(random),
            2 => plan.with_silence(random),
            _ => plan,
        }
    }

    /// Processes often die while they write: then only a fence protects what they committed.
    fn with_crashes(self, random: &mut StdRng) -> Self {
        let mut crash = || {
            let process = random.random_range(0..self.processes);
            let millis = random.random_range(20..400);
            let at = random.random_range(500..self.horizon);
            (at, Fault::Crash { process, millis })
        };
        let mut faults: Vec<_> = (0..24).map(|_| crash()).collect();
        faults.sort_by_key(|(at, _)| *at);
        Self {
            faults,
            write_pause: 60,
            database_delay: 60,
            is_grouped: false,
            legacy_readers: 0,
            legacy_writers: 0,
            ..self
        }
    }

    /// Processes often get no replies and pushes, while others write: their memory grows old.
    fn with_silence(self, random: &mut StdRng) -> Self {
        let mut hold = |_| {
            let process = random.random_range(0..self.processes);
            let millis = random.random_range(600..4_000);
            let at = random.random_range(500..self.horizon);
            (at, Fault::HoldIn { process, millis })
        };
        let mut faults: Vec<_> = (0..6).map(&mut hold).collect();
        faults.sort_by_key(|(at, _)| *at);
        Self {
            faults,
            write_pause: 400,
            read_pause: 20,
            ttl: 20_000,
            has_memory: true,
            ..self
        }
    }

    /// Whether nothing but their own writers, and time, removes fences.
    pub(crate) fn are_fences_safe(&self) -> bool {
        let is_safe = |(_, fault): &(u64, Fault)| {
            !matches!(
                fault,
                Fault::Restart
                    | Fault::Failover { .. }
                    | Fault::Promote { .. }
                    | Fault::Flush
                    | Fault::Evict { .. }
                    | Fault::Retype { .. }
                    | Fault::Corrupt { .. }
                    | Fault::Jump { .. }
            )
        };
        !self.is_grouped && self.legacy_writers == 0 && self.faults.iter().all(is_safe)
    }

    /// The longest time in milliseconds that an older reader may take between its read of the
    /// database and its write to Valkey.
    pub(crate) fn legacy_lag(&self) -> u64 {
        self.database_delay + 20
    }
}

fn fault(random: &mut StdRng, kinds: u32, processes: usize, keys: u64) -> Option<Fault> {
    let kind = random.random_range(0..KINDS);
    let process = random.random_range(0..processes);
    let key = random.random_range(0..keys);
    let short = random.random_range(20..600);
    let millis = match random.random_range(0..3_u32) {
        0 => random.random_range(600..4_000),
        _ => short,
    };
    (kinds & (1 << kind) != 0).then_some(match kind {
        0 => Fault::Cut { process },
        1 => Fault::Close { process },
        2 => Fault::CutAll,
        3 => Fault::HoldOut { process, millis },
        4 => Fault::HoldIn { process, millis },
        5 => Fault::Refuse { process, millis },
        6 => Fault::Pause { process, millis },
        7 | 10 => Fault::Crash { process, millis },
        8 => Fault::Restart,
        9 => Fault::Failover { lag: millis },
        11 => Fault::Flush,
        12 => Fault::ForgetScripts,
        13 => Fault::Evict { key },
        14 => Fault::Retype { key },
        15 => Fault::Corrupt { key },
        16 => Fault::Jump { millis },
        _ if millis % 2 == 0 => Fault::NoDatabase { millis },
        _ => Fault::SlowDatabase { millis },
    })
}
