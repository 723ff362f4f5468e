//! Commands as Valkey executes them, and the nonces of markers.

use super::state::{Delayed, Fetch, Group, Row, State};
use super::{Groups, Mutant};

impl State {
    pub(super) fn fill(&mut self, lease: u8, version: u8, tag: Option<u8>) -> bool {
        let accepted = self.entry == Row::Lease(lease);
        if accepted {
            self.set_entry(Row::Value { version, tag });
        }
        accepted
    }

    /// GETGEN.
    pub(super) fn get_generation(&mut self, model: &Groups) -> Group {
        let is_kept = match self.group {
            Group::Generation(_) => true,
            Group::Fence(_) => model.mutant != Mutant::GenerationReplacesFence,
            Group::Empty => false,
        };
        if !is_kept {
            self.set_group(model, Group::Generation(self.next_generation));
            if model.mutant != Mutant::GenerationsRepeat {
                self.next_generation += 1;
            }
        }
        self.group
    }

    /// The smallest unused nonce: states that differ only in nonces are the same state.
    pub(super) fn new_lease(&self) -> u8 {
        let in_use = |lease: u8| {
            let holds = |fetch: &Fetch| match fetch {
                Fetch::GotLease { lease: held, .. }
                | Fetch::ToLoad { lease: held, .. }
                | Fetch::Loaded { lease: held, .. } => *held == Some(lease),
                _ => false,
            };
            let is_delayed = |delayed: &Delayed| matches!(delayed, Delayed::Fill { lease: held, .. } if *held == lease);
            self.entry == Row::Lease(lease)
                || self.replicas.iter().any(|replica| holds(&replica.fetch))
                || self.delayed.iter().any(is_delayed)
        };
        (0..).find(|lease| !in_use(*lease)).unwrap_or_default()
    }
}

/// Whether a payload is current in its group.
pub(super) fn is_current(model: &Groups, row: Row, group: Group) -> bool {
    match (row, group) {
        (Row::Value { tag: None, .. }, _) => model.mutant == Mutant::UntaggedIsHit,
        (Row::Value { tag, .. }, Group::Generation(generation)) => tag == Some(generation),
        _ => false,
    }
}
