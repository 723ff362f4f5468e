//! What there is: one row, its key, replicas with their lanes, requests, writers.

use super::Protocol;
use super::local::{Event, Local};

/// What the key holds. A payload is the version of the row it was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Key {
    Empty,
    Tombstone,
    Lease(u8),
    Fence(u8),
    Value(u8),
}

/// A command that is on its way to Valkey although its sender has given up on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Late {
    GetLease(u8),
    Fill { lease: u8, value: u8 },
    Fence(u8),
    Fin { own: Option<u8> },
}

/// Where the lane of a replica stands. Boarding, sending a command and its execution are one
/// step: an execution that comes later than the boarding before it finds nothing older, and
/// what it finds is for fewer. Where the answer makes a difference to those who come before
/// it arrives, its arrival is a step of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Lane {
    Idle,
    /// In a replica with a first level: GET is on its way. `stamped`: the stamp that was read
    /// before is still current. (A stamp that is outdated never becomes current again, so
    /// nothing else about it matters.)
    Looking {
        stamped: bool,
    },
    /// In a replica with a first level: GET was a hit, and its answer is on its way.
    Found {
        value: u8,
        stamped: bool,
    },
    /// The shared level has answered; to load, with or without a lease.
    Missed {
        lease: Option<u8>,
    },
    Loaded {
        lease: Option<u8>,
        epoch: u8,
        value: u8,
    },
    /// FILL has been executed, and its answer is on its way.
    Filled {
        epoch: u8,
        value: u8,
        accepted: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Replica {
    pub(super) lane: Lane,
    pub(super) epoch: u8,
    /// A FIN is owed, with this own fence.
    pub(super) owed: Option<Option<u8>>,
    /// The version that whoever starts to read here now must see, or a newer one.
    pub(super) promised: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum RequestPhase {
    Coming,
    Waiting,
    Aboard,
    Standby,
    Answered,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Request {
    pub(super) replica: u8,
    pub(super) phase: RequestPhase,
    pub(super) epoch: u8,
    /// What was promised when it came.
    pub(super) oldest: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum WriterPhase {
    Begun,
    Locked,
    /// The fence is up, or else there was no answer.
    Fenced,
    /// Committed or rolled back.
    Ended,
    /// The epoch is bumped, FIN comes next.
    Bumped,
    /// FIN was executed, or is owed; where there is a first level, the stamps end next.
    Finished {
        invalidated: bool,
    },
    Returned,
    Crashed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Writer {
    pub(super) replica: u8,
    pub(super) phase: WriterPhase,
    pub(super) acknowledged: bool,
    /// The version it has committed, if it has.
    pub(super) version: u8,
    /// A writer of the older server: no lock held for longer than a commit, no fence.
    pub(super) older: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) database: u8,
    pub(super) lock: Option<u8>,
    pub(super) key: Key,
    pub(super) replicas: Vec<Replica>,
    pub(super) requests: Vec<Request>,
    pub(super) writers: Vec<Writer>,
    pub(super) late: Vec<Late>,
    pub(super) faults: u8,
    pub(super) answers: u8,
    pub(super) stale_answer: bool,
    /// How often all keys may yet be flushed, and whether they were.
    pub(super) flushes: u8,
    pub(super) flushed: bool,
    /// The first level of replica 0.
    pub(super) local: Option<Local>,
}

/// What can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// A request comes and waits in its replica's lane.
    Come(usize),
    /// A request comes and is answered by the first level.
    Serve(usize),
    /// The lane of a replica takes its next step.
    Fly(usize),
    /// As `Fly`, but the command gets no answer: it is executed late, if at all.
    FlyUnanswered(usize),
    /// A writer takes its next step.
    Write(usize),
    RollBack(usize),
    /// As `Write`, but the command gets no answer.
    WriteUnanswered(usize),
    Crash(usize),
    /// A command that its sender gave up on is executed after all.
    Execute(usize),
    /// The background task of a replica makes up for an owed FIN.
    Settle(usize),
    /// The key's time is over.
    Expire,
    /// All keys are flushed.
    Flush,
    /// Something happens to the first level or to its connection.
    Local(Event),
}

impl State {
    pub(super) fn new(model: &Protocol) -> Self {
        let replicas = model
            .requests
            .iter()
            .chain(&model.writers)
            .max()
            .map_or(1, |last| last + 1);
        let request = |replica: &u8| Request {
            replica: *replica,
            phase: RequestPhase::Coming,
            epoch: 0,
            oldest: 0,
        };
        let writer = |replica: u8, older| Writer {
            replica,
            phase: WriterPhase::Begun,
            acknowledged: false,
            version: 0,
            older,
        };
        let ours = model.writers.iter().map(|replica| writer(*replica, false));
        let theirs = (0..model.older_writers).map(|_| writer(0, true));
        Self {
            database: 0,
            lock: None,
            key: model.breaks.map_or(Key::Empty, |_| Key::Value(0)),
            replicas: vec![
                Replica {
                    lane: Lane::Idle,
                    epoch: 0,
                    owed: None,
                    promised: 0
                };
                usize::from(replicas)
            ],
            requests: model.requests.iter().map(request).collect(),
            writers: ours.chain(theirs).collect(),
            late: Vec::new(),
            faults: model.faults,
            answers: 0,
            stale_answer: false,
            flushes: model.flushes,
            flushed: false,
            local: model.breaks.map(Local::new),
        }
    }

    /// A nonce that nobody has; the smallest, so that states that differ in names are the same.
    pub(super) fn new_lease(&self) -> u8 {
        let in_use = |lease: &u8| {
            let held = |lane: &Lane| match lane {
                Lane::Missed { lease: held } | Lane::Loaded { lease: held, .. } => {
                    *held == Some(*lease)
                }
                Lane::Idle | Lane::Looking { .. } | Lane::Found { .. } | Lane::Filled { .. } => {
                    false
                }
            };
            self.key == Key::Lease(*lease)
                || self.replicas.iter().any(|replica| held(&replica.lane))
                || self.late.iter().any(|late| match late {
                    Late::GetLease(late) | Late::Fill { lease: late, .. } => late == lease,
                    Late::Fence(_) | Late::Fin { .. } => false,
                })
        };
        (0..).find(|lease| !in_use(lease)).unwrap_or_default()
    }

    pub(super) fn is_shared_level_stale(&self) -> bool {
        matches!(self.key, Key::Value(version) if version < self.database)
    }

    /// Whether an acknowledged fence stands until its writer's end. Where older servers write,
    /// too, they overwrite it, and a flush takes it away.
    pub(super) fn fences_last(&self) -> bool {
        !self.flushed && !self.writers.iter().any(|writer| writer.older)
    }

    /// Whether this writer may have left the shared level stale: it has committed, and neither
    /// a fence nor a FIN has said so yet.
    pub(super) fn excuses(&self, writer: &Writer) -> bool {
        use WriterPhase::{Bumped, Crashed, Ended, Finished, Returned};
        let fenced = writer.acknowledged && self.fences_last();
        let owed = self.replicas[usize::from(writer.replica)].owed.is_some();
        let under_way = match writer.phase {
            Ended | Bumped | Crashed => true,
            Finished { invalidated } => !invalidated,
            Returned => owed && !writer.older,
            _ => false,
        };
        writer.version > 0 && under_way && !fenced
    }
}
