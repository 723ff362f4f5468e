//! The failover of the server: a replica of it is promoted that lacks the last writes.
//!
//! Every process loses its connection. Until it has another one, on which its invalidations are
//! repeated first, it uses the shared level neither for reads nor for writes. Until then the others
//! may read what its writes had replaced: the bound that is published is the time until it has.

use super::state::{Key, State, WriterPhase};
use super::{Mutant, Protocol};

/// The connection of a process to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Server {
    Connected,
    /// Lost in a failover.
    Lost,
    /// A mutant's: used, but its invalidations are not repeated yet.
    Unrepeated,
}

impl Server {
    pub(super) fn is_used(self) -> bool {
        self != Self::Lost
    }
}

impl State {
    pub(super) fn uses_server(&self, replica: usize) -> bool {
        self.replicas[replica].server.is_used()
    }

    /// Whether a process has yet to repeat its invalidations.
    pub(super) fn awaits_repeats(&self) -> bool {
        let is_behind =
            |replica: &super::state::Replica| replica.has_recent && replica.server == Server::Lost;
        self.replicas.iter().any(is_behind)
    }

    /// Remembers the content of the key that is about to change.
    pub(super) fn remember(&mut self) {
        if self.failovers > 0 {
            self.history.insert(self.key);
        }
    }

    pub(super) fn fail_over(&mut self, key: Key) {
        self.failovers -= 1;
        self.key = key;
        if self.failovers == 0 {
            self.history.clear();
        }
        // What was sent to the lost server is not executed by another.
        self.delayed.clear();
        // As a flush does, it removes fences.
        self.flushed = true;
        for i in 0..self.replicas.len() {
            let own = self.own_writes(i);
            self.replicas[i].server = Server::Lost;
            self.replicas[i].min_version = own;
            let here = self.requests.iter_mut();
            for request in here.filter(|request| usize::from(request.replica) == i) {
                request.min_version = request.min_version.min(own);
            }
        }
    }

    /// The newest version whose write by a process has returned.
    fn own_writes(&self, replica: usize) -> u8 {
        let own = self.writers.iter().filter(|writer| {
            let has_returned = writer.phase == WriterPhase::Returned;
            usize::from(writer.replica) == replica && has_returned && !writer.is_legacy
        });
        own.map(|writer| writer.version).max().unwrap_or(0)
    }

    /// A new connection of a process: its invalidations are repeated before it is used.
    pub(super) fn reconnect(&mut self, model: &Protocol, replica: usize) {
        let before = self.replicas[replica].server;
        if model.mutant == Mutant::UseBeforeRepeating && before == Server::Lost {
            self.replicas[replica].server = Server::Unrepeated;
            return;
        }
        let repeats =
            self.replicas[replica].has_recent && model.mutant != Mutant::ForgetRecentInvalidations;
        let pending = self.replicas[replica].pending.take();
        if let Some(own) = pending.or(repeats.then_some(None)) {
            self.execute_invalidate(model, own);
            self.replicas[replica].has_recent = true;
        }
        self.replicas[replica].server = Server::Connected;
        let own = self.own_writes(replica);
        for other in &mut self.replicas {
            other.min_version = other.min_version.max(own);
        }
    }
}
