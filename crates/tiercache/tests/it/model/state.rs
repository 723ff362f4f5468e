//! The state: one row, its key in Valkey, replicas, requests and writers.

use std::collections::BTreeSet;

use super::Protocol;
use super::failover::Server;
use super::local::{Event, Local};

/// The content of the key. A payload is represented by the version of the row it was loaded from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Key {
    Empty,
    Tombstone,
    Lease(u8),
    /// The fence of a writer. `marked`: its writer may not store its value.
    Fence {
        writer: u8,
        marked: bool,
    },
    Value(u8),
}

/// A command that timed out at its sender and may still execute in Valkey.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Delayed {
    GetLease(u8),
    Fill { lease: u8, value: u8 },
    Fence(u8),
    Invalidate { own: Option<u8> },
    Put { writer: u8, value: u8 },
}

/// The in-flight slot of the key on a replica, and the state of its fetch. Admitting the
/// waiters, sending a command and executing it are one step: a later execution reads nothing
/// older and serves no more waiters. The reply is a step of its own where waiters that enqueue
/// before its arrival make a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Slot {
    Idle,
    /// With a local level: GET is in flight. `unchanged`: the versions in the read snapshot
    /// are still current. (Versions only grow, so an outdated snapshot stays outdated.)
    Getting {
        unchanged: bool,
    },
    /// With a local level: GET was a hit; its reply is in flight.
    Hit {
        value: u8,
        unchanged: bool,
    },
    /// GET was a miss; the next step loads, with or without a lease.
    Miss {
        lease: Option<u8>,
    },
    Loaded {
        lease: Option<u8>,
        key_version: u8,
        value: u8,
    },
    /// FILL was executed; its reply is in flight.
    Filled {
        key_version: u8,
        value: u8,
        accepted: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Replica {
    pub(super) slot: Slot,
    pub(super) key_version: u8,
    /// A pending invalidation, with the fence that it owns.
    pub(super) pending: Option<Option<u8>>,
    /// The minimum version that a read starting now on this replica must return.
    pub(super) min_version: u8,
    /// Its connection since a failover.
    pub(super) server: Server,
    /// Whether it has a confirmed invalidation, which it repeats after a failover.
    pub(super) has_recent: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum RequestPhase {
    NotStarted,
    Enqueued,
    Admitted,
    Deferred,
    Completed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Request {
    pub(super) replica: u8,
    pub(super) phase: RequestPhase,
    pub(super) key_version: u8,
    /// The replica's minimum version when the request was enqueued.
    pub(super) min_version: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum WriterPhase {
    Begun,
    Locked,
    /// The fence is acknowledged, or its command timed out.
    Fenced,
    /// Committed or rolled back.
    Ended,
    /// The key version is bumped; storing the value or INVALIDATE is next.
    Bumped,
    /// INVALIDATE was executed or is pending; with a local level, the versions are bumped next.
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
    /// The committed version; 0 before the commit.
    pub(super) version: u8,
    /// A writer of the legacy server: no fence, and the lock is held only for the commit.
    pub(super) is_legacy: bool,
    /// Whether it is yet to try to store its value.
    pub(super) puts: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) database: u8,
    pub(super) lock: Option<u8>,
    pub(super) key: Key,
    pub(super) replicas: Vec<Replica>,
    pub(super) requests: Vec<Request>,
    pub(super) writers: Vec<Writer>,
    pub(super) delayed: Vec<Delayed>,
    pub(super) faults: u8,
    pub(super) completed: u8,
    pub(super) stale_response: bool,
    /// The remaining flushes of all keys, and whether one has happened.
    pub(super) flushes: u8,
    pub(super) flushed: bool,
    /// The remaining failovers, and the contents that the key had while there are any.
    pub(super) failovers: u8,
    pub(super) history: BTreeSet<Key>,
    /// The local level of replica 0.
    pub(super) local: Option<Local>,
}

/// A transition of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// A request enqueues as a waiter on its replica.
    Come(usize),
    /// A request is a local hit.
    Serve(usize),
    /// The fetch of a replica takes its next step.
    Advance(usize),
    /// As `Advance`, but the command times out: it may execute later, or never.
    AdvanceTimeout(usize),
    /// A writer takes its next step.
    Write(usize),
    RollBack(usize),
    /// As `Write`, but the command times out.
    WriteTimeout(usize),
    Crash(usize),
    /// A delayed command executes.
    ExecuteDelayed(usize),
    /// The background task of a replica flushes its pending invalidation.
    FlushPending(usize),
    /// The key's TTL expires.
    Expire,
    /// FLUSHALL.
    Flush,
    /// A replica of the server is promoted, on which the key is as it was at some time before.
    FailOver(Key),
    /// A replica connects to the promoted server, or repeats its invalidations there.
    Reconnect(usize),
    /// An event of the local level or its tracking connection.
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
            phase: RequestPhase::NotStarted,
            key_version: 0,
            min_version: 0,
        };
        let writer = |replica: u8, is_legacy| Writer {
            replica,
            phase: WriterPhase::Begun,
            acknowledged: false,
            version: 0,
            is_legacy,
            puts: model.puts && !is_legacy,
        };
        let writers = model.writers.iter().map(|replica| writer(*replica, false));
        let legacy = (0..model.legacy_writers).map(|_| writer(0, true));
        Self {
            database: 0,
            lock: None,
            key: model.disconnects.map_or(Key::Empty, |_| Key::Value(0)),
            replicas: vec![
                Replica {
                    slot: Slot::Idle,
                    key_version: 0,
                    pending: None,
                    min_version: 0,
                    server: Server::Connected,
                    has_recent: false,
                };
                usize::from(replicas)
            ],
            requests: model.requests.iter().map(request).collect(),
            writers: writers.chain(legacy).collect(),
            delayed: Vec::new(),
            faults: model.faults,
            completed: 0,
            stale_response: false,
            flushes: model.flushes,
            flushed: false,
            failovers: model.failovers,
            history: BTreeSet::new(),
            local: model.disconnects.map(Local::new),
        }
    }

    /// The smallest unused nonce: states that differ only in nonces are the same state.
    pub(super) fn new_lease(&self) -> u8 {
        let in_use = |lease: &u8| {
            let held = |slot: &Slot| match slot {
                Slot::Miss { lease: held } | Slot::Loaded { lease: held, .. } => {
                    *held == Some(*lease)
                }
                Slot::Idle | Slot::Getting { .. } | Slot::Hit { .. } | Slot::Filled { .. } => false,
            };
            self.key == Key::Lease(*lease)
                || self.history.contains(&Key::Lease(*lease))
                || self.replicas.iter().any(|replica| held(&replica.slot))
                || self.delayed.iter().any(|delayed| match delayed {
                    Delayed::GetLease(delayed) | Delayed::Fill { lease: delayed, .. } => {
                        delayed == lease
                    }
                    Delayed::Fence(_) | Delayed::Invalidate { .. } | Delayed::Put { .. } => false,
                })
        };
        (0..).find(|lease| !in_use(lease)).unwrap_or_default()
    }

    pub(super) fn is_shared_level_stale(&self) -> bool {
        matches!(self.key, Key::Value(version) if version < self.database)
    }

    /// True if an acknowledged fence stays until its writer has finished. A legacy writer may
    /// overwrite it, and a flush or a failover removes it.
    pub(super) fn fences_last(&self) -> bool {
        !self.flushed && !self.writers.iter().any(|writer| writer.is_legacy)
    }

    /// True while this writer may have left the shared level stale: it has committed, and
    /// neither its fence nor its INVALIDATE has reached Valkey.
    pub(super) fn may_leave_stale(&self, writer: &Writer) -> bool {
        use WriterPhase::{Bumped, Crashed, Ended, Finished, Returned};
        let fenced = writer.acknowledged && self.fences_last();
        let pending = self.replicas[usize::from(writer.replica)].pending.is_some();
        let in_progress = match writer.phase {
            Ended | Bumped | Crashed => true,
            Finished { invalidated } => !invalidated,
            Returned => pending && !writer.is_legacy,
            _ => false,
        };
        writer.version > 0 && in_progress && !fenced
    }
}
