//! What writers do, of this server and of the older one.

use super::state::{Key, Late, State, Writer, WriterPhase};
use super::{Mutant, Protocol};

impl State {
    pub(super) fn write(&mut self, model: &Protocol, i: usize) {
        use WriterPhase::{Begun, Bumped, Crashed, Ended, Fenced, Finished, Locked, Returned};
        let fence_first = model.mutant == Mutant::FenceBeforeLock;
        let writer = self.writers[i];
        self.writers[i].phase = match writer.phase {
            Begun if writer.older => self.commit(i),
            Begun if fence_first => self.raise(i),
            Begun => self.lock(i),
            Locked if fence_first => self.commit(i),
            Locked => self.raise(i),
            Fenced if fence_first => self.lock(i),
            Fenced => self.commit(i),
            Ended if writer.older => {
                self.set_key(Key::Tombstone);
                self.write_returns(i, true)
            }
            Ended => {
                self.replicas[usize::from(writer.replica)].epoch += 1;
                if model.mutant == Mutant::BumpBeforeFin {
                    self.bump_own(model, writer);
                }
                Bumped
            }
            Bumped => {
                self.execute_fin(own(model, i, writer));
                self.fin_ends(i, true)
            }
            Finished { invalidated } => {
                if model.mutant == Mutant::DebtNotedAfterBump && !invalidated {
                    self.owe(model, i, writer);
                } else if model.mutant != Mutant::BumpBeforeFin {
                    self.bump_own(model, writer);
                }
                self.write_returns(i, invalidated)
            }
            Returned | Crashed => writer.phase,
        };
    }

    fn lock(&mut self, i: usize) -> WriterPhase {
        self.lock = Some(i as u8);
        WriterPhase::Locked
    }

    fn raise(&mut self, i: usize) -> WriterPhase {
        self.set_key(Key::Fence(i as u8));
        self.writers[i].acknowledged = true;
        WriterPhase::Fenced
    }

    fn commit(&mut self, i: usize) -> WriterPhase {
        self.lock = None;
        self.database += 1;
        self.writers[i].version = self.database;
        WriterPhase::Ended
    }

    pub(super) fn write_unanswered(&mut self, model: &Protocol, i: usize) {
        self.faults -= 1;
        let writer = self.writers[i];
        if writer.phase != WriterPhase::Bumped {
            self.late(Late::Fence(i as u8));
            self.writers[i].phase = WriterPhase::Fenced;
            return;
        }
        let own = own(model, i, writer);
        self.late(Late::Fin { own });
        if model.mutant == Mutant::DebtNotedAfterBump {
            self.bump_own(model, writer);
        }
        if !matches!(
            model.mutant,
            Mutant::DebtNotedAfterBump | Mutant::ForgetDebts
        ) {
            self.owe(model, i, writer);
        }
        self.writers[i].phase = self.fin_ends(i, false);
    }

    fn owe(&mut self, model: &Protocol, i: usize, writer: Writer) {
        let own = own(model, i, writer);
        let owed = &mut self.replicas[usize::from(writer.replica)].owed;
        *owed = Some(own.or(owed.flatten()));
    }

    fn bump_own(&mut self, model: &Protocol, writer: Writer) {
        if self.is_local(writer.replica) {
            self.bump(model);
        }
    }

    /// With a first level there is one more step.
    fn fin_ends(&mut self, i: usize, invalidated: bool) -> WriterPhase {
        if self.is_local(self.writers[i].replica) {
            WriterPhase::Finished { invalidated }
        } else {
            self.write_returns(i, invalidated)
        }
    }

    /// From here on nobody on the writer's replica may get anything older, and nobody elsewhere
    /// either, if the shared level has been told.
    fn write_returns(&mut self, i: usize, invalidated: bool) -> WriterPhase {
        let writer = self.writers[i];
        let fence_lasts = self.fences_last();
        for (replica, here) in self.replicas.iter_mut().enumerate() {
            let own = replica == usize::from(writer.replica) && !writer.older;
            if own || invalidated || (writer.acknowledged && fence_lasts) {
                here.promised = here.promised.max(writer.version);
            }
        }
        if !writer.older && self.is_local(writer.replica) {
            self.own_write_returned(writer.version);
        }
        WriterPhase::Returned
    }
}

fn own(model: &Protocol, i: usize, writer: Writer) -> Option<u8> {
    let owns = writer.acknowledged || model.mutant == Mutant::FinOwnsLostFence;
    owns.then_some(i as u8)
}
