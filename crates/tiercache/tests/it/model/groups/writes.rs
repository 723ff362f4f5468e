//! The transitions of writes.

use super::state::{Delayed, Group, Phase, State};
use super::{Groups, Mutant};

impl State {
    pub(super) fn write(&mut self, model: &Groups, i: usize) {
        let writer = self.writers[i];
        let next = match writer.phase {
            Phase::Begun => {
                match model.mutant {
                    Mutant::InvalidateBeforeCommit => self.set_group(model, Group::Empty),
                    _ => self.set_fence(model, i as u8),
                }
                self.writers[i].is_confirmed = true;
                Phase::Fenced
            }
            Phase::Fenced => {
                self.database += 1;
                self.writers[i].version = self.database;
                Phase::Committed
            }
            Phase::Committed => {
                self.begin_end(usize::from(writer.replica));
                if model.mutant != Mutant::InvalidateBeforeCommit {
                    self.invalidate(model, writer.is_confirmed.then_some(i as u8));
                }
                Phase::Finished {
                    is_invalidated: true,
                }
            }
            Phase::Finished { is_invalidated } => {
                self.bump(model, usize::from(writer.replica));
                self.returned(i, is_invalidated);
                Phase::Returned
            }
            Phase::Returned | Phase::Crashed => writer.phase,
        };
        self.writers[i].phase = next;
    }

    pub(super) fn write_timeout(&mut self, model: &Groups, i: usize) {
        self.faults -= 1;
        let writer = self.writers[i];
        if writer.phase == Phase::Begun {
            self.delayed.push(Delayed::Fence(i as u8));
            self.writers[i].phase = Phase::Fenced;
            return;
        }
        let own = writer.is_confirmed.then_some(i as u8);
        self.delayed.push(Delayed::Invalidate { own });
        let replica = usize::from(writer.replica);
        self.begin_end(replica);
        if model.mutant != Mutant::PendingForgotten {
            let pending = &mut self.replicas[replica].pending;
            *pending = Some(own.or(pending.flatten()));
        }
        self.writers[i].phase = Phase::Finished {
            is_invalidated: false,
        };
    }

    /// The version of writes changes before INVALIDATE is sent, too.
    fn begin_end(&mut self, replica: usize) {
        self.replicas[replica].writes += 1;
    }

    /// The versions of the group change once INVALIDATE was executed or is pending.
    fn bump(&mut self, model: &Groups, replica: usize) {
        self.replicas[replica].writes += 1;
        if model.mutant == Mutant::OwnWriteNotBumped {
            return;
        }
        self.replicas[replica].local = None;
        self.replicas[replica].fetch.outdate();
    }

    /// A write returns: later reads on its replica must see it, and those on others, too, if its
    /// fence was confirmed and its invalidation executed.
    fn returned(&mut self, i: usize, is_invalidated: bool) {
        let writer = self.writers[i];
        for (replica, other) in self.replicas.iter_mut().enumerate() {
            let is_own = replica == usize::from(writer.replica);
            if is_own || writer.is_confirmed && is_invalidated {
                other.returned = other.returned.max(writer.version);
            }
        }
    }

    /// Its fence outlives a writer that crashes, so what it has committed must be seen.
    pub(super) fn crash(&mut self, i: usize) {
        let writer = self.writers[i];
        if writer.is_confirmed && !writer.is_overwritten {
            for replica in &mut self.replicas {
                replica.returned = replica.returned.max(writer.version);
            }
        }
        self.writers[i].phase = Phase::Crashed;
    }

    /// INVALIDATE.
    pub(super) fn invalidate(&mut self, model: &Groups, own: Option<u8>) {
        match self.group {
            Group::Fence(fence)
                if own != Some(fence) && model.mutant != Mutant::InvalidateRemovesForeignFence => {}
            _ => self.set_group(model, Group::Empty),
        }
    }
}
