//! The protocol with a first level.
//!
//! It holds with less than there is: here a write ends the stamps of its key only once, after
//! FIN, a broken connection ends trust but no stamps, and the first level is used again whether
//! or not all owed FINs are settled.

use stateright::Property;

use super::state::State;
use super::{Mutant, Protocol};

/// What must be so at any time, and what must come about now and then.
pub(super) fn properties(model: &Protocol) -> Vec<Property<Protocol>> {
    let Some(breaks) = model.breaks else {
        return Vec::new();
    };
    let mut properties = vec![
        Property::always(
            "the first level has nothing older than a write of its replica that had returned",
            |_: &Protocol, state: &State| state.shows_own_writes(),
        ),
        Property::always(
            "the first level has nothing older than a write it was told of",
            |_: &Protocol, state: &State| state.shows_what_was_pushed(),
        ),
        Property::always(
            "the first level has nothing older than a write that had returned a second ago",
            |_: &Protocol, state: &State| state.shows_what_is_overdue(),
        ),
        Property::always(
            "the first level is not stale at rest",
            |_: &Protocol, state: &State| state.is_right_at_rest(),
        ),
        Property::sometimes("the first level answers", |_: &Protocol, state: &State| {
            state.has_served()
        }),
    ];
    if model.is_orderly() {
        properties.push(Property::always(
            "the first level does not go back behind what its replica has answered",
            |_: &Protocol, state: &State| state.does_not_go_back(),
        ));
    }
    if model.writers.contains(&1) && model.writers.len() == 1 && model.mutant == Mutant::None {
        properties.push(Property::sometimes(
            "the first level lags behind a write elsewhere",
            |_: &Protocol, state: &State| state.lags(),
        ));
    }
    // The first request finds nothing after a break.
    let requests = model.requests.iter().filter(|replica| **replica == 0);
    if breaks > 0 && requests.count() > 1 {
        properties.push(Property::sometimes(
            "the first level answers after a break",
            |_: &Protocol, state: &State| state.has_served_after_a_break(),
        ));
    }
    properties
}

impl Protocol {
    /// Whether the shared level is never stale, so that it does not go back itself.
    fn is_orderly(&self) -> bool {
        self.faults == 0 && self.flushes == 0 && self.older_writers == 0 && !self.crashes
    }
}

mod the_protocol_holds {
    use super::Protocol;

    #[test]
    fn another_replica_writes_and_the_connection_breaks() {
        Protocol::new(&[0, 0], &[1]).local(1).assert_holds();
        Protocol::new(&[0], &[1]).local(2).assert_holds();
    }

    #[test]
    fn another_replica_reads_too() {
        Protocol::new(&[0, 1], &[1]).local(0).assert_holds();
    }

    #[test]
    fn this_replica_writes_and_commands_get_lost() {
        Protocol::new(&[0], &[0]).local(0).faults(2).assert_holds();
        Protocol::new(&[0], &[0]).local(1).faults(1).assert_holds();
        Protocol::new(&[0, 0], &[0]).local(0).assert_holds();
        // Two writes here with a lost command hold as well: 1.3 million states, 20 s.
    }

    #[test]
    fn both_replicas_write() {
        Protocol::new(&[0], &[0, 1]).local(0).assert_holds();
    }

    #[test]
    fn another_replica_loses_commands_and_crashes() {
        Protocol::new(&[0], &[1])
            .local(0)
            .faults(1)
            .crashes()
            .flushes(1)
            .assert_holds();
    }

    #[test]
    fn an_older_server_writes() {
        Protocol::new(&[0], &[0])
            .older_writers(1)
            .local(0)
            .assert_holds();
        Protocol::new(&[0, 0], &[])
            .older_writers(1)
            .local(0)
            .crashes()
            .flushes(1)
            .assert_holds();
    }
}

mod without_this_precaution_it_does_not {
    use super::{Mutant, Protocol};

    fn told_of_a_write_elsewhere() -> Protocol {
        Protocol::new(&[0, 0], &[1]).local(0)
    }

    fn losing_commands_of_a_write_here() -> Protocol {
        Protocol::new(&[0, 0], &[0]).local(0).faults(2)
    }

    #[test]
    fn the_stamp_before_get() {
        told_of_a_write_elsewhere()
            .mutant(Mutant::StampAfterGet)
            .assert_caught();
        losing_commands_of_a_write_here()
            .mutant(Mutant::StampAfterDebts)
            .assert_caught();
    }

    #[test]
    fn the_stamp() {
        told_of_a_write_elsewhere()
            .mutant(Mutant::StampUnchecked)
            .assert_caught();
    }

    #[test]
    fn only_hits_are_kept() {
        told_of_a_write_elsewhere()
            .mutant(Mutant::OwnFillKept)
            .assert_caught();
    }

    #[test]
    fn a_flight_ends_the_entry() {
        Protocol::new(&[0, 0, 0], &[1])
            .local(0)
            .mutant(Mutant::EntryOutlivesFlight)
            .assert_caught();
    }

    #[test]
    fn a_bump_at_reconnection() {
        Protocol::new(&[0, 0], &[1])
            .local(1)
            .mutant(Mutant::NoBumpAtReconnect)
            .assert_caught();
    }

    #[test]
    fn tracking_before_use() {
        Protocol::new(&[0, 0], &[1])
            .local(1)
            .mutant(Mutant::LiveBeforeTracking)
            .assert_caught();
    }

    #[test]
    fn the_bypass_of_debts() {
        losing_commands_of_a_write_here()
            .mutant(Mutant::DebtsNotBypassed)
            .assert_caught();
    }

    #[test]
    fn a_bump_after_fin_and_its_debt() {
        losing_commands_of_a_write_here()
            .mutant(Mutant::BumpBeforeFin)
            .assert_caught();
        losing_commands_of_a_write_here()
            .mutant(Mutant::DebtNotedAfterBump)
            .assert_caught();
    }

    #[test]
    fn freshness_from_the_sending_of_ping() {
        told_of_a_write_elsewhere()
            .mutant(Mutant::FreshFromPong)
            .assert_caught();
    }

    #[test]
    fn a_flush_is_heard() {
        Protocol::new(&[0], &[1])
            .local(0)
            .faults(1)
            .crashes()
            .flushes(1)
            .mutant(Mutant::FlushUnheard)
            .assert_caught();
    }
}
