//! The state: the database, an entry and its group in Valkey, replicas, requests and writers.

use super::{Groups, Mutant};

/// The content of the entry's key. A payload is represented by the version that it was loaded from,
/// and the generation that is its tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Row {
    Empty,
    Lease(u8),
    Value { version: u8, tag: Option<u8> },
}

/// The content of the group's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Group {
    Empty,
    Fence(u8),
    Generation(u8),
}

/// A command that timed out at its sender and may still execute in Valkey.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Delayed {
    Fence(u8),
    Invalidate {
        own: Option<u8>,
    },
    Fill {
        lease: u8,
        version: u8,
        tag: Option<u8>,
    },
}

/// The fetch of a replica. Admitting waiters and executing a command is one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Fetch {
    Idle,
    /// GET of the entry was executed; that of the group is next.
    GotRow {
        row: Row,
        unchanged: bool,
    },
    /// Both were executed, and hit; the reply is in flight.
    Hit {
        version: u8,
        unchanged: bool,
    },
    /// Both were executed, and missed; GETLEASE is next.
    Missed {
        group: Group,
    },
    /// GETLEASE was executed; GETGEN is next.
    GotLease {
        row: Row,
        lease: Option<u8>,
        before: Group,
    },
    /// The load is next, with the lease and the tag to fill with.
    ToLoad {
        lease: Option<u8>,
        tag: Option<u8>,
    },
    Loaded {
        lease: Option<u8>,
        tag: Option<u8>,
        version: u8,
        writes: u8,
    },
    /// FILL was executed.
    Filled {
        version: u8,
        accepted: bool,
    },
}

/// A replica, its local entry and its pending invalidation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Replica {
    pub(super) fetch: Fetch,
    /// The fence that the pending invalidation owns.
    pub(super) pending: Option<Option<u8>>,
    /// The writes of the group by this replica.
    pub(super) writes: u8,
    /// The value of the local entry while its versions are unchanged.
    pub(super) local: Option<u8>,
    /// The version that a read starting now on this replica must return at least.
    pub(super) returned: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Wait {
    NotStarted,
    Enqueued,
    Admitted,
    /// Enqueued before FILL was sent.
    Deferred,
    Completed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Request {
    pub(super) replica: u8,
    pub(super) wait: Wait,
    /// What it must return at least.
    pub(super) returned: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    Begun,
    Fenced,
    Committed,
    /// INVALIDATE was executed or is pending.
    Finished {
        is_invalidated: bool,
    },
    Returned,
    Crashed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Writer {
    pub(super) replica: u8,
    pub(super) phase: Phase,
    pub(super) is_confirmed: bool,
    /// Whether another writer has replaced its fence. It is then not protected if it crashes.
    pub(super) is_overwritten: bool,
    pub(super) version: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) database: u8,
    pub(super) entry: Row,
    pub(super) group: Group,
    pub(super) next_generation: u8,
    pub(super) replicas: Vec<Replica>,
    pub(super) requests: Vec<Request>,
    pub(super) writers: Vec<Writer>,
    /// The versions that reads of the legacy server have loaded; `None` before.
    pub(super) legacy: Vec<Option<u8>>,
    pub(super) delayed: Vec<Delayed>,
    pub(super) faults: u8,
    pub(super) completed: u8,
    pub(super) hits: u8,
    pub(super) stale_response: bool,
}

/// A transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// A request enqueues as a waiter on its replica.
    Come(usize),
    /// A request is a local hit.
    Serve(usize),
    /// The fetch of a replica takes its next step.
    Advance(usize),
    /// As `Advance`, but FILL times out: it may execute later, or never.
    FillTimeout(usize),
    Write(usize),
    /// As `Write`, but the command times out.
    WriteTimeout(usize),
    Crash(usize),
    /// A read of the legacy server takes its next step.
    Legacy(usize),
    ExecuteDelayed(usize),
    FlushPending(usize),
    ExpireEntry,
    ExpireGroup,
}

impl Fetch {
    /// The versions that were read before GET have changed.
    pub(super) fn outdate(&mut self) {
        if let Self::GotRow { unchanged, .. } | Self::Hit { unchanged, .. } = self {
            *unchanged = false;
        }
    }
}

impl State {
    pub(super) fn new(model: &Groups) -> Self {
        let of_all = model.requests.iter().chain(&model.writers);
        let replicas = of_all.max().map_or(1, |last| last + 1);
        let replica = Replica {
            fetch: Fetch::Idle,
            pending: None,
            writes: 0,
            local: None,
            returned: 0,
        };
        let request = |replica: &u8| Request {
            replica: *replica,
            wait: Wait::NotStarted,
            returned: 0,
        };
        let writer = |replica: &u8| Writer {
            replica: *replica,
            phase: Phase::Begun,
            is_confirmed: false,
            is_overwritten: false,
            version: 0,
        };
        Self {
            database: 0,
            entry: Row::Empty,
            group: Group::Empty,
            next_generation: 0,
            replicas: vec![replica; usize::from(replicas)],
            requests: model.requests.iter().map(request).collect(),
            writers: model.writers.iter().map(writer).collect(),
            legacy: vec![None; usize::from(model.legacy_reads)],
            delayed: Vec::new(),
            faults: model.faults,
            completed: 0,
            hits: 0,
            stale_response: false,
        }
    }

    /// Sets the key of the entry, which is pushed.
    pub(super) fn set_entry(&mut self, entry: Row) {
        self.entry = entry;
        self.push();
    }

    /// Sets the key of the group, which is pushed.
    pub(super) fn set_group(&mut self, model: &Groups, group: Group) {
        self.group = group;
        if model.mutant != Mutant::StampUnchecked {
            self.push();
        }
    }

    /// Ends the local entry of replica 0, and what it may have read before.
    fn push(&mut self) {
        let Some(replica) = self.replicas.first_mut() else {
            return;
        };
        replica.local = None;
        replica.fetch.outdate();
    }

    /// Raises the fence of a writer, in place of that of another one.
    pub(super) fn set_fence(&mut self, model: &Groups, writer: u8) {
        if let Group::Fence(other) = self.group
            && other != writer
        {
            self.writers[usize::from(other)].is_overwritten = true;
        }
        self.set_group(model, Group::Fence(writer));
    }

    /// Delivers a version to the waiters of a replica in this phase.
    pub(super) fn deliver(&mut self, replica: usize, wait: Wait, version: u8) {
        for request in &mut self.requests {
            if usize::from(request.replica) == replica && request.wait == wait {
                request.wait = Wait::Completed;
                self.completed += 1;
                self.stale_response |= version < request.returned;
            }
        }
    }

    /// Moves the waiters of a replica from a phase to another.
    pub(super) fn move_waiters(&mut self, replica: usize, from: Wait, to: Wait) {
        for request in &mut self.requests {
            if usize::from(request.replica) == replica && request.wait == from {
                request.wait = to;
            }
        }
    }

    pub(super) fn has_waiters(&self, replica: usize) -> bool {
        let mut requests = self.requests.iter();
        requests.any(|request| {
            usize::from(request.replica) == replica && request.wait == Wait::Enqueued
        })
    }
}
