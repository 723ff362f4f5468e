//! The faults of a plan.

use rand::RngExt as _;
use rand::rngs::StdRng;

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
    /// The connections of a process lose all that is sent from now on. (`tracking`: that for client
    /// tracking, or the other ones.)
    Mute { process: usize, tracking: bool },
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
    /// Valkey refuses to change anything, as while it cannot write to its disk.
    ReadOnly { millis: u64 },
    /// Valkey's clock jumps ahead.
    Jump { millis: u64 },
    /// The database refuses statements.
    NoDatabase { millis: u64 },
    /// The database executes statements late.
    SlowDatabase { millis: u64 },
}

/// A step of the protocol, of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Valkey has executed a GET.
    Get,
    /// Valkey has executed a GETLEASE.
    Lease,
    /// Valkey has executed a FILL.
    Fill,
    /// Valkey has stored a fence.
    Fence,
    /// The database has executed a COMMIT.
    Commit,
    /// Valkey has executed an INVALIDATE.
    Invalidate,
}

const STEPS: [Step; 6] = [
    Step::Get,
    Step::Lease,
    Step::Fill,
    Step::Fence,
    Step::Commit,
    Step::Invalidate,
];

/// A fault that happens at the first such step of its process after a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stepped {
    pub(crate) at: u64,
    pub(crate) step: Step,
    pub(crate) fault: Fault,
}

const KINDS: u32 = 21;

/// The size of the world that a fault concerns.
#[derive(Clone, Copy)]
pub(super) struct Size {
    pub(super) processes: usize,
    pub(super) keys: u64,
}

/// A fault of one of the `kinds`, a set of bits. `None` now and then.
pub(super) fn random(random: &mut StdRng, kinds: u32, size: Size) -> Option<Fault> {
    let kind = random.random_range(0..KINDS);
    let process = random.random_range(0..size.processes);
    let key = random.random_range(0..size.keys);
    let short = random.random_range(20..600);
    let millis = match random.random_range(0..3_u32) {
        0 => random.random_range(600..4_000),
        _ => short,
    };
    let tracking = millis % 2 == 0;
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
        17 => Fault::Mute { process, tracking },
        18 => Fault::ReadOnly { millis },
        19 => Fault::SlowDatabase { millis },
        _ => Fault::NoDatabase { millis },
    })
}

/// A process that is suspended, killed, or disconnected at a step.
pub(super) fn random_step(random: &mut StdRng, processes: usize, horizon: u64) -> Stepped {
    let process = random.random_range(0..processes);
    let millis = [5, 30, 120, 400, 1_500][random.random_range(0..5)];
    let fault = match random.random_range(0..4_u32) {
        0 => Fault::Crash { process, millis },
        1 => Fault::Cut { process },
        _ => Fault::Pause { process, millis },
    };
    Stepped {
        at: random.random_range(500..horizon),
        step: STEPS[random.random_range(0..STEPS.len())],
        fault,
    }
}

impl Fault {
    /// The process that it concerns alone.
    pub(crate) fn process(self) -> Option<usize> {
        match self {
            Self::Cut { process }
            | Self::Close { process }
            | Self::HoldOut { process, .. }
            | Self::HoldIn { process, .. }
            | Self::Mute { process, .. }
            | Self::Refuse { process, .. }
            | Self::Pause { process, .. }
            | Self::Crash { process, .. } => Some(process),
            _ => None,
        }
    }

    /// Whether nothing but their own writers, and time, removes fences while it happens.
    pub(super) fn keeps_fences(self) -> bool {
        !matches!(
            self,
            Self::Restart
                | Self::Failover { .. }
                | Self::Promote { .. }
                | Self::Flush
                | Self::Evict { .. }
                | Self::Retype { .. }
                | Self::Corrupt { .. }
                | Self::Jump { .. }
        )
    }

    /// Its name in the coverage.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cut { .. } => "fault: cut",
            Self::Close { .. } => "fault: close",
            Self::CutAll => "fault: cut all",
            Self::HoldOut { .. } => "fault: commands held",
            Self::HoldIn { .. } => "fault: replies held",
            Self::Mute { .. } => "fault: half-open",
            Self::Refuse { .. } => "fault: connections refused",
            Self::Pause { .. } => "fault: process suspended",
            Self::Crash { .. } => "fault: process killed",
            Self::Restart => "fault: Valkey restarted",
            Self::Failover { .. } => "fault: failover",
            Self::Promote { .. } => "fault: replica promoted",
            Self::MoveSlot { .. } => "fault: slot moves",
            Self::Flush => "fault: flushed",
            Self::ForgetScripts => "fault: scripts flushed",
            Self::Evict { .. } => "fault: evicted",
            Self::Retype { .. } => "fault: another type",
            Self::Corrupt { .. } => "fault: invalid payload",
            Self::ReadOnly { .. } => "fault: changes refused",
            Self::Jump { .. } => "fault: clock jumped",
            Self::NoDatabase { .. } => "fault: database unavailable",
            Self::SlowDatabase { .. } => "fault: database slow",
        }
    }
}

impl Step {
    /// Its name in the coverage.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Get => "at GET",
            Self::Lease => "at GETLEASE",
            Self::Fill => "at FILL",
            Self::Fence => "at a fence",
            Self::Commit => "at COMMIT",
            Self::Invalidate => "at INVALIDATE",
        }
    }
}
