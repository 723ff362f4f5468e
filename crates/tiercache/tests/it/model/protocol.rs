//! A scenario of the protocol, and the mutants that must fail.

use std::time::Instant;

use stateright::{Checker, Expectation, HasDiscoveries, Model};

/// A precaution that is left out of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mutant {
    /// The protocol as implemented.
    None,
    /// A load fills with an unconditional SETEX.
    FillWithoutLease,
    /// A load fills with SET NX.
    FillIfEmpty,
    /// The fence is set before the transaction holds the row lock.
    FenceBeforeLock,
    /// INVALIDATE replaces the caller's fence even if it was not acknowledged.
    InvalidateOwnsUnacknowledgedFence,
    /// All leases of a process carry the same nonce.
    NoncePerProcess,
    /// A request that comes during a flight joins it.
    JoinRunningFlight,
    /// Waiters are deferred to a fill until its reply arrives, not until FILL is sent.
    JoinAtFillReply,
    /// Key versions are ignored: a filled value also serves waiters that enqueued after a
    /// write of this replica had returned.
    NoKeyVersion,
    /// A write stores its value after the commit, whatever the key holds.
    PutWithoutFence,
    /// An invalidation leaves the fence of another writer as it is.
    ForeignFenceUnmarked,
    /// A failed invalidation is not queued.
    ForgetPendingInvalidation,
    /// After a failover a replica does not repeat its invalidations.
    ForgetRecentInvalidations,
    /// After a failover the shared level is read before a replica's invalidations are repeated.
    UseBeforeRepeating,
    // Mutants of the local level:
    /// The read snapshot is taken when the reply to GET arrives.
    SnapshotAfterGet,
    /// The read snapshot is taken before GET, but after the check for pending invalidations.
    SnapshotAfterPendingCheck,
    /// The version stamp of an entry is not validated.
    StampUnchecked,
    /// A fetch caches the value that it has filled, stamped with the current versions.
    OwnFillCached,
    /// A fetch that loads the value leaves an existing entry in place.
    EntryOutlivesFlight,
    /// A reconnect does not bump the versions.
    NoBumpAtReconnect,
    /// The local level is active from the first PING reply, before tracking is on.
    ActiveBeforeTracking,
    /// The shared level is read for a key with a pending invalidation.
    PendingNotBypassed,
    /// A write bumps the version of its key before INVALIDATE, not after it.
    BumpBeforeInvalidate,
    /// A write bumps it after INVALIDATE, but before queueing a failed one as pending.
    PendingQueuedAfterBump,
    /// Freshness counts from the reply to PING, not from its sending.
    FreshFromPong,
    /// The push about a flush of all keys is ignored.
    FlushIgnored,
}

/// A scenario: the participants, and the number of faults of each kind.
#[derive(Clone, Debug)]
pub(super) struct Protocol {
    pub(super) mutant: Mutant,
    /// The replica of each request.
    pub(super) requests: Vec<u8>,
    /// The replica of each writer.
    pub(super) writers: Vec<u8>,
    /// Writers of the legacy server: no fence, `SETEX 1 null` after the commit.
    pub(super) legacy_writers: u8,
    /// Commands that may time out; each may execute later, or never.
    pub(super) faults: u8,
    pub(super) crashes: bool,
    /// Whether writers store their value.
    pub(super) puts: bool,
    /// The number of flushes of all keys.
    pub(super) flushes: u8,
    /// The number of failovers: the key gets a content that it had before.
    pub(super) failovers: u8,
    /// The number of disconnects of the tracking connection; `None` without a local level.
    pub(super) disconnects: Option<u8>,
}

impl Protocol {
    pub(super) fn new(requests: &[u8], writers: &[u8]) -> Self {
        Self {
            mutant: Mutant::None,
            requests: requests.to_vec(),
            writers: writers.to_vec(),
            legacy_writers: 0,
            faults: 0,
            crashes: false,
            puts: false,
            flushes: 0,
            failovers: 0,
            disconnects: None,
        }
    }

    /// Gives replica 0 a local level.
    pub(super) fn local(self, disconnects: u8) -> Self {
        Self {
            disconnects: Some(disconnects),
            ..self
        }
    }

    pub(super) fn flushes(self, flushes: u8) -> Self {
        Self { flushes, ..self }
    }

    /// Without a local level.
    pub(super) fn failovers(self, failovers: u8) -> Self {
        Self { failovers, ..self }
    }

    pub(super) fn faults(self, faults: u8) -> Self {
        Self { faults, ..self }
    }

    pub(super) fn crashes(self) -> Self {
        Self {
            crashes: true,
            ..self
        }
    }

    pub(super) fn puts(self) -> Self {
        Self { puts: true, ..self }
    }

    pub(super) fn legacy_writers(self, legacy_writers: u8) -> Self {
        Self {
            legacy_writers,
            ..self
        }
    }

    pub(super) fn mutant(self, mutant: Mutant) -> Self {
        Self { mutant, ..self }
    }

    #[track_caller]
    pub(super) fn assert_holds(self) {
        let (scenario, begin) = (format!("{self:?}"), Instant::now());
        let checker = self.checker().threads(2).spawn_bfs().join();
        let (states, time) = (checker.unique_state_count(), begin.elapsed());
        println!("{scenario}: {states} states in {time:.1?}");
        checker.assert_properties();
    }

    #[track_caller]
    pub(super) fn assert_caught(self) {
        let mutant = self.mutant;
        let checker = self
            .clone()
            .checker()
            .threads(2)
            .finish_when(HasDiscoveries::AnyFailures)
            .spawn_bfs()
            .join();
        let always = self
            .properties()
            .into_iter()
            .filter(|property| matches!(property.expectation, Expectation::Always));
        let mut caught = false;
        for name in always.map(|property| property.name) {
            let Some(path) = checker.discovery(name) else {
                continue;
            };
            caught = true;
            println!("{mutant:?}: not '{name}' after {:?}", path.into_actions());
        }
        assert!(caught, "{mutant:?} was not caught");
    }
}
