//! The protocol, checked in every order in which its steps can happen.
//!
//! `state` has what there is, `steps` what can happen to it: in `flights`, by `writes` and to
//! the first level, `local`. Each scenario is explored completely; each mutant, the protocol
//! with one of its precautions left out, must be caught.

mod flights;
mod local;
mod state;
mod steps;
mod with_local;
mod writes;

use std::time::Instant;

use stateright::{Checker, Expectation, HasDiscoveries, Model, Property};

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
    // Of the first level:
    /// The stamp of an entry is read when the answer to GET has come.
    StampAfterGet,
    /// The stamp is read before GET, but after the look for debts.
    StampAfterDebts,
    /// An entry is valid whatever has become of its stamp.
    StampUnchecked,
    /// What a flight has filled itself is kept, with a stamp that is read then.
    OwnFillKept,
    /// A flight that has loaded the value leaves an older entry where it is.
    EntryOutlivesFlight,
    /// A new connection does not end the stamps.
    NoBumpAtReconnect,
    /// The first level is in use from when a PING is answered, TRACKING comes later.
    LiveBeforeTracking,
    /// The shared level is asked for a key even if its FIN is owed.
    DebtsNotBypassed,
    /// A write ends the stamps of its key before FIN, not after it.
    BumpBeforeFin,
    /// A write ends them after FIN, but before it notes that FIN is owed.
    DebtNotedAfterBump,
    /// Freshness counts from when PING was answered.
    FreshFromPong,
    /// A push that says that all keys were flushed is ignored.
    FlushUnheard,
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
    /// How often all keys may be flushed.
    flushes: u8,
    /// How often the connection of the first level may break; `None` if there is none.
    breaks: Option<u8>,
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
            flushes: 0,
            breaks: None,
        }
    }

    /// Replica 0 has a first level.
    fn local(self, breaks: u8) -> Self {
        Self {
            breaks: Some(breaks),
            ..self
        }
    }

    fn flushes(self, flushes: u8) -> Self {
        Self { flushes, ..self }
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
        let (scenario, begin) = (format!("{self:?}"), Instant::now());
        let checker = self.checker().threads(2).spawn_bfs().join();
        let (states, time) = (checker.unique_state_count(), begin.elapsed());
        println!("{scenario}: {states} states in {time:.1?}");
        checker.assert_properties();
    }

    #[track_caller]
    fn assert_caught(self) {
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
        assert!(caught, "{mutant:?} went unnoticed");
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
        let mut properties = vec![
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
        ];
        properties.extend(with_local::properties(self));
        properties
    }
}

mod the_protocol_holds {
    use super::Protocol;

    #[test]
    fn two_replicas_read_while_one_writes_and_commands_get_lost() {
        // Some seconds: three requests that may board anywhere, 370,000 states.
        Protocol::new(&[0, 0, 1], &[0]).faults(1).assert_holds();
    }

    #[test]
    fn whatever_two_commands_get_lost_or_late() {
        Protocol::new(&[0, 0], &[0]).faults(2).assert_holds();
    }

    #[test]
    fn two_replicas_write_at_once() {
        // A second or two: two writers and two lanes step by step, 160,000 states.
        Protocol::new(&[0, 1], &[0, 1]).assert_holds();
        Protocol::new(&[1], &[0, 1]).faults(1).assert_holds();
    }

    #[test]
    fn writers_crash_anywhere() {
        Protocol::new(&[0, 0], &[0, 1]).crashes().assert_holds();
    }

    #[test]
    fn an_older_server_writes_too() {
        // A second or two: as above, 180,000 states.
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
