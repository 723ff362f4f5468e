//! Properties and scenarios of the protocol with a local level.
//!
//! The model is weaker than the implementation: a write bumps the version of its key only once,
//! after INVALIDATE; a lost connection ends freshness and bumps no version; and the local level
//! is active again whether or not all pending invalidations are flushed.

use stateright::Property;

use super::super::protocol::{Mutant, Protocol};
use super::super::state::State;

/// Invariants, and states that must be reachable.
pub(in super::super) fn properties(model: &Protocol) -> Vec<Property<Protocol>> {
    let Some(disconnects) = model.disconnects else {
        return Vec::new();
    };
    let mut properties = vec![
        Property::always(
            "a local hit is not older than a returned write of its replica",
            |_: &Protocol, state: &State| state.reflects_own_writes(),
        ),
        Property::always(
            "a local hit is not older than a write whose push was delivered",
            |_: &Protocol, state: &State| state.reflects_delivered_pushes(),
        ),
        Property::always(
            "a local hit is not older than a write that returned one max silence ago",
            |_: &Protocol, state: &State| state.reflects_writes_past_max_silence(),
        ),
        Property::always(
            "the local level is not stale at rest",
            |_: &Protocol, state: &State| state.is_current_at_rest(),
        ),
        Property::sometimes("a local hit is reachable", |_: &Protocol, state: &State| {
            state.had_local_hit()
        }),
    ];
    if model.is_monotonic_scenario() {
        properties.push(Property::always(
            "a local hit is not older than a value its replica has returned",
            |_: &Protocol, state: &State| state.is_monotonic(),
        ));
    }
    if model.writers.contains(&1) && model.writers.len() == 1 && model.mutant == Mutant::None {
        properties.push(Property::sometimes(
            "the local level lags behind a write of another replica",
            |_: &Protocol, state: &State| state.lags_behind(),
        ));
    }
    // The first request after a reconnect is a local miss.
    let requests = model.requests.iter().filter(|replica| **replica == 0);
    if disconnects > 0 && requests.count() > 1 {
        properties.push(Property::sometimes(
            "a local hit after a reconnect is reachable",
            |_: &Protocol, state: &State| state.had_local_hit_after_reconnect(),
        ));
    }
    properties
}

impl Protocol {
    /// True where the shared level is never stale, so that its versions never decrease.
    fn is_monotonic_scenario(&self) -> bool {
        self.faults == 0 && self.flushes == 0 && self.legacy_writers == 0 && !self.crashes
    }
}

mod the_protocol_holds_when {
    use super::Protocol;

    #[limited::test]
    fn another_replica_writes_and_the_connection_is_lost() {
        Protocol::new(&[0, 0], &[1]).local(1).assert_holds();
        Protocol::new(&[0], &[1]).local(2).assert_holds();
    }

    #[limited::test]
    fn another_replica_reads() {
        Protocol::new(&[0, 1], &[1]).local(0).assert_holds();
    }

    #[limited::test]
    fn this_replica_writes_and_commands_time_out() {
        Protocol::new(&[0], &[0]).local(0).faults(2).assert_holds();
        Protocol::new(&[0], &[0]).local(1).faults(1).assert_holds();
        Protocol::new(&[0, 0], &[0]).local(0).assert_holds();
        // Two writes here with one timeout hold as well: 1.3 million states, 20 s.
    }

    #[limited::test]
    fn both_replicas_write() {
        Protocol::new(&[0], &[0, 1]).local(0).assert_holds();
    }

    #[limited::test]
    fn another_replica_has_timeouts_and_crashes() {
        Protocol::new(&[0], &[1])
            .local(0)
            .faults(1)
            .crashes()
            .flushes(1)
            .assert_holds();
    }

    #[limited::test]
    fn a_legacy_server_writes() {
        Protocol::new(&[0], &[0])
            .legacy_writers(1)
            .local(0)
            .assert_holds();
        Protocol::new(&[0, 0], &[])
            .legacy_writers(1)
            .local(0)
            .crashes()
            .flushes(1)
            .assert_holds();
    }
}

mod a_mutant_is_caught {
    use super::{Mutant, Protocol};

    fn write_on_another_replica() -> Protocol {
        Protocol::new(&[0, 0], &[1]).local(0)
    }

    fn write_here_with_two_timeouts() -> Protocol {
        Protocol::new(&[0, 0], &[0]).local(0).faults(2)
    }

    #[limited::test]
    fn without_a_snapshot_before_get() {
        write_on_another_replica()
            .mutant(Mutant::SnapshotAfterGet)
            .assert_caught();
        write_here_with_two_timeouts()
            .mutant(Mutant::SnapshotAfterPendingCheck)
            .assert_caught();
    }

    #[limited::test]
    fn without_validating_the_version_stamp() {
        write_on_another_replica()
            .mutant(Mutant::StampUnchecked)
            .assert_caught();
    }

    #[limited::test]
    fn when_its_own_fill_is_cached() {
        write_on_another_replica()
            .mutant(Mutant::OwnFillCached)
            .assert_caught();
    }

    #[limited::test]
    fn when_an_entry_outlives_a_flight() {
        Protocol::new(&[0, 0, 0], &[1])
            .local(0)
            .mutant(Mutant::EntryOutlivesFlight)
            .assert_caught();
    }

    #[limited::test]
    fn without_a_version_bump_at_reconnect() {
        Protocol::new(&[0, 0], &[1])
            .local(1)
            .mutant(Mutant::NoBumpAtReconnect)
            .assert_caught();
    }

    #[limited::test]
    fn when_active_before_tracking() {
        Protocol::new(&[0, 0], &[1])
            .local(1)
            .mutant(Mutant::ActiveBeforeTracking)
            .assert_caught();
    }

    #[limited::test]
    fn when_a_pending_invalidation_is_not_bypassed() {
        write_here_with_two_timeouts()
            .mutant(Mutant::PendingNotBypassed)
            .assert_caught();
    }

    #[limited::test]
    fn when_the_version_is_bumped_too_early() {
        write_here_with_two_timeouts()
            .mutant(Mutant::BumpBeforeInvalidate)
            .assert_caught();
        write_here_with_two_timeouts()
            .mutant(Mutant::PendingQueuedAfterBump)
            .assert_caught();
    }

    #[limited::test]
    fn when_freshness_counts_from_the_ping_reply() {
        write_on_another_replica()
            .mutant(Mutant::FreshFromPong)
            .assert_caught();
    }

    #[limited::test]
    fn when_a_flush_push_is_ignored() {
        Protocol::new(&[0], &[1])
            .local(0)
            .faults(1)
            .crashes()
            .flushes(1)
            .mutant(Mutant::FlushIgnored)
            .assert_caught();
    }
}
