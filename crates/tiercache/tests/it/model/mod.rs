//! The protocol, checked in every order in which its steps can happen.
//!
//! `state` has what there is, `steps` what can happen to it. Each scenario is explored
//! completely; each mutant, the protocol with one of its precautions left out, must be caught.

mod state;
mod steps;

use stateright::{Checker, HasDiscoveries, Model, Property};

use state::{Action, State, WriterPhase};

/// A precaution left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mutant {
    /// The protocol as it is.
    None,
    /// A load stores its value with SETEX, whatever happened meanwhile.
    FillWithoutLease,
    /// A load stores its value with SET NX.
    FillIfEmpty,
    /// The fence is raised before the transaction holds the row's lock.
    FenceBeforeLock,
    /// FIN takes away the caller's fence even if it was not acknowledged.
    FinOwnsLostFence,
    /// All leases of a process carry the same nonce.
    NoncePerProcess,
    /// Whoever comes while a flight is under way takes its outcome.
    JoinRunningFlight,
    /// Whoever came before the answer to FILL takes a filled value, not before its sending.
    JoinAtFillReply,
    /// A filled value is given to those who came after a write of this replica had returned.
    NoEpoch,
    /// An invalidation that failed is forgotten.
    ForgetDebts,
}

/// A protocol run: who takes part, and how many commands may get lost or be late.
#[derive(Clone, Debug)]
struct Protocol {
    mutant: Mutant,
    /// The replica of each request.
    requests: Vec<u8>,
    /// The replica of each writer.
    writers: Vec<u8>,
    /// Writers of the older server: no fence, `SETEX 1 null` after the commit.
    older_writers: u8,
    faults: u8,
    crashes: bool,
}

impl Protocol {
    fn new(requests: &[u8], writers: &[u8]) -> Self {
        Self {
            mutant: Mutant::None,
            requests: requests.to_vec(),
            writers: writers.to_vec(),
            older_writers: 0,
            faults: 0,
            crashes: false,
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

    fn older_writers(self, older_writers: u8) -> Self {
        Self {
            older_writers,
            ..self
        }
    }

    fn mutant(self, mutant: Mutant) -> Self {
        Self { mutant, ..self }
    }

    #[track_caller]
    fn assert_holds(self) {
        let checker = self.checker().threads(2).spawn_bfs().join();
        checker.assert_properties();
    }

    #[track_caller]
    fn assert_caught(self) {
        let mutant = self.mutant;
        let checker = self
            .checker()
            .threads(2)
            .finish_when(HasDiscoveries::AnyFailures)
            .spawn_bfs()
            .join();
        let broken = [NO_STALE_ANSWER, NO_STALE_ENTRY].map(|name| (name, checker.discovery(name)));
        for (property, path) in broken
            .iter()
            .filter_map(|(name, path)| Some((name, path.as_ref()?)))
        {
            println!(
                "{mutant:?}: not '{property}' after {:?}",
                path.clone().into_actions()
            );
        }
        assert!(
            broken.iter().any(|(_, path)| path.is_some()),
            "{mutant:?} went unnoticed"
        );
    }
}

const NO_STALE_ANSWER: &str = "no reader gets a value older than a write that had returned";
const NO_STALE_ENTRY: &str = "the shared level is stale only while an unfenced write is under way";

impl Model for Protocol {
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
            Property::always(NO_STALE_ANSWER, |_: &Self, state: &State| {
                !state.stale_answer
            }),
            Property::always(NO_STALE_ENTRY, |_: &Self, state: &State| {
                !state.is_shared_level_stale()
                    || state.writers.iter().any(|writer| state.excuses(writer))
            }),
            // The checks above are worth something only if writes and reads do complete.
            Property::sometimes(
                "a value is filled and all is done",
                |model: &Self, state: &State| {
                    let done = |writer: &state::Writer| writer.phase == WriterPhase::Returned;
                    state.answers == model.requests.len() as u8
                        && state.writers.iter().all(done)
                        && state.key == state::Key::Value(state.database)
                },
            ),
        ]
    }
}

mod the_protocol_holds {
    use super::Protocol;

    #[test]
    fn two_replicas_read_while_one_writes_and_commands_get_lost() {
        Protocol::new(&[0, 0, 1], &[0]).faults(1).assert_holds();
    }

    #[test]
    fn whatever_two_commands_get_lost_or_late() {
        Protocol::new(&[0, 0], &[0]).faults(2).assert_holds();
    }

    #[test]
    fn two_replicas_write_at_once() {
        Protocol::new(&[0, 1], &[0, 1]).assert_holds();
        Protocol::new(&[1], &[0, 1]).faults(1).assert_holds();
    }

    #[test]
    fn writers_crash_anywhere() {
        Protocol::new(&[0, 0], &[0, 1]).crashes().assert_holds();
    }

    #[test]
    fn an_older_server_writes_too() {
        Protocol::new(&[0, 0, 1], &[])
            .older_writers(2)
            .assert_holds();
        Protocol::new(&[0, 0], &[0]).older_writers(1).assert_holds();
    }
}

mod without_this_precaution_it_does_not {
    use super::{Mutant, Protocol};

    #[test]
    fn the_lease() {
        Protocol::new(&[0], &[0])
            .mutant(Mutant::FillWithoutLease)
            .assert_caught();
        Protocol::new(&[0], &[0])
            .mutant(Mutant::FillIfEmpty)
            .assert_caught();
    }

    #[test]
    fn the_fence_inside_the_transaction() {
        Protocol::new(&[0], &[0, 1])
            .mutant(Mutant::FenceBeforeLock)
            .assert_caught();
    }

    #[test]
    fn only_an_acknowledged_fence_is_ones_own() {
        Protocol::new(&[1], &[0, 1])
            .faults(1)
            .mutant(Mutant::FinOwnsLostFence)
            .assert_caught();
    }

    #[test]
    fn a_nonce_for_every_attempt() {
        Protocol::new(&[0, 0], &[1])
            .faults(1)
            .mutant(Mutant::NoncePerProcess)
            .assert_caught();
    }

    #[test]
    fn boarding() {
        Protocol::new(&[0, 0], &[0])
            .mutant(Mutant::JoinRunningFlight)
            .assert_caught();
        Protocol::new(&[0, 0], &[1])
            .mutant(Mutant::JoinRunningFlight)
            .assert_caught();
    }

    #[test]
    fn standby_closes_when_the_fill_is_sent() {
        Protocol::new(&[0, 0], &[1])
            .mutant(Mutant::JoinAtFillReply)
            .assert_caught();
    }

    #[test]
    fn the_epoch() {
        Protocol::new(&[0, 0], &[0])
            .faults(2)
            .mutant(Mutant::NoEpoch)
            .assert_caught();
    }

    #[test]
    fn debts() {
        Protocol::new(&[0, 0], &[0])
            .faults(2)
            .mutant(Mutant::ForgetDebts)
            .assert_caught();
    }
}
