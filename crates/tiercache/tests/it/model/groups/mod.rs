//! Groups in a model checker: one entry of a group, the group's key, and writers of different rows.
//!
//! As the model of single keys (see [`super`]), with what groups add. The rows of the writers
//! differ, so no lock orders their commits; the database's version counts all commits.

mod commands;
mod scenarios;
mod state;
mod steps;
mod writes;

use std::time::Instant;

use stateright::{Checker, Expectation, HasDiscoveries, Model, Property};

use state::{Action, Phase, Row, State};

/// A precaution that is left out of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mutant {
    /// The protocol as implemented.
    None,
    /// A write replaces the generation before COMMIT, and not after it.
    InvalidateBeforeCommit,
    /// A fill takes the tag of the generation that the group has then, not before the load.
    TagWhenFilling,
    /// A payload without a tag is a hit.
    UntaggedIsHit,
    /// Waiters of a fetch whose FILL was accepted get its value, as for a key without a group.
    DeferToFill,
    /// A payload that GETLEASE returns is compared with the generation that GET returned.
    GroupNotReadWithLease,
    /// GETGEN replaces a fence.
    GenerationReplacesFence,
    /// A generation that was lost begins again.
    GenerationsRepeat,
    /// The end of a write removes the fence of another one.
    InvalidateRemovesForeignFence,
    /// The shared level is read for a group with a pending invalidation.
    PendingNotBypassed,
    /// A failed invalidation is not queued.
    PendingForgotten,
    /// A local entry does not depend on the version of its group.
    StampUnchecked,
    /// The group's version is read when the reply to GET arrives.
    StampAfterGet,
    /// A write of this process does not bump the version of the group.
    OwnWriteNotBumped,
}

/// A scenario: the participants, and the number of faults of each kind.
#[derive(Clone, Debug)]
struct Groups {
    mutant: Mutant,
    /// The replica of each request.
    requests: Vec<u8>,
    /// The replica of each writer.
    writers: Vec<u8>,
    /// Reads of the legacy server: a load, then SETEX without a tag.
    legacy_reads: u8,
    /// Commands that may time out; each may execute later, or never.
    faults: u8,
    crashes: bool,
    /// Whether replica 0 has a local level. Pushes arrive at once.
    local: bool,
}

impl Groups {
    fn new(requests: &[u8], writers: &[u8]) -> Self {
        Self {
            mutant: Mutant::None,
            requests: requests.to_vec(),
            writers: writers.to_vec(),
            legacy_reads: 0,
            faults: 0,
            crashes: false,
            local: false,
        }
    }

    fn legacy_reads(self, legacy_reads: u8) -> Self {
        Self {
            legacy_reads,
            ..self
        }
    }

    fn faults(self, faults: u8) -> Self {
        Self { faults, ..self }
    }

    fn crashes(self) -> Self {
        Self {
            crashes: true,
            ..self
        }
    }

    fn local(self) -> Self {
        Self {
            local: true,
            ..self
        }
    }

    fn mutant(self, mutant: Mutant) -> Self {
        Self { mutant, ..self }
    }

    #[track_caller]
    fn assert_holds(self) {
        let (scenario, begin) = (format!("{self:?}"), Instant::now());
        let checker = self.checker().threads(2).spawn_bfs().join();
        let (states, time) = (checker.unique_state_count(), begin.elapsed());
        println!("{scenario}: {states} states in {time:.1?}");
        checker.assert_properties();
    }

    #[track_caller]
    fn assert_caught(self) {
        let checker = self.clone().checker().threads(2);
        let checker = checker.finish_when(HasDiscoveries::AnyFailures);
        let checker = checker.spawn_bfs().join();
        let mut always = self.properties();
        always.retain(|property| matches!(property.expectation, Expectation::Always));
        let found = always
            .iter()
            .find_map(|property| checker.discovery(property.name));
        let path = found.unwrap_or_else(|| panic!("{:?} was not caught", self.mutant));
        println!("{:?}: {:?}", self.mutant, path.into_actions());
    }
}

impl Model for Groups {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(self)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        steps::possible(self, state, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        steps::take(self, &mut next, action);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(
                "a read is not older than a write that had returned before it",
                |_: &Self, state: &State| !state.stale_response,
            ),
            // Without hits and completed writes the invariant would hold vacuously.
            Property::sometimes(
                "a read after all writes is a hit in the shared level",
                |model: &Self, state: &State| {
                    state.hits > 0
                        && state.completed == model.requests.len() as u8
                        && state
                            .writers
                            .iter()
                            .all(|writer| writer.phase == Phase::Returned)
                        && matches!(state.entry, Row::Value { version, .. } if version == state.database)
                },
            ),
        ]
    }
}
