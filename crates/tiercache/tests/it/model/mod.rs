//! The protocol in a model checker: every interleaving of its steps.
//!
//! `state` is the state, `steps` its transitions: `flights` those of reads, `writes` those of
//! writes, `failover` that of the server, `local` those of the local level. `scenarios` and `local::scenarios` are explored
//! exhaustively; each mutant, the protocol with one precaution left out, must be caught.

mod failover;
mod flights;
mod groups;
mod local;
mod protocol;
mod scenarios;
mod state;
mod steps;
mod writes;

use stateright::{Model, Property};

use protocol::{Mutant, Protocol};
use state::{Action, State, WriterPhase};

const NO_STALE_RESPONSE: &str = "a read is not older than a write that had returned before it";
const NO_STALE_ENTRY: &str =
    "the shared level is stale only while an unfenced write is in progress";

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
            Property::always(NO_STALE_RESPONSE, |_: &Self, state: &State| {
                !state.stale_response
            }),
            Property::always(NO_STALE_ENTRY, |_: &Self, state: &State| {
                !state.is_shared_level_stale()
                    || state.awaits_repeats()
                    || state
                        .writers
                        .iter()
                        .any(|writer| state.may_leave_stale(writer))
            }),
            // Without completed reads and writes the invariants would hold vacuously.
            Property::sometimes(
                "every read and write completes and a value is filled",
                |model: &Self, state: &State| {
                    let done = |writer: &state::Writer| writer.phase == WriterPhase::Returned;
                    state.completed == model.requests.len() as u8
                        && state.writers.iter().all(done)
                        && state.key == state::Key::Value(state.database)
                },
            ),
        ];
        properties.extend(local::properties(self));
        properties
    }
}
