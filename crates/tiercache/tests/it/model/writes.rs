//! Steps of the writers, of this server and of the legacy one.

use super::state::{Delayed, Key, State, Writer, WriterPhase};
use super::{Mutant, Protocol};

impl State {
    pub(super) fn write(&mut self, model: &Protocol, i: usize) {
        use WriterPhase::{Begun, Bumped, Crashed, Ended, Fenced, Finished, Locked, Returned};
        let fence_first = model.mutant == Mutant::FenceBeforeLock;
        let writer = self.writers[i];
        let sends = matches!(writer.phase, Locked | Bumped);
        if sends && !self.uses_server(writer.replica.into()) {
            return self.write_without_server(model, i);
        }
        self.writers[i].phase = match writer.phase {
            Begun if writer.is_legacy => self.commit(i),
            Begun if fence_first => self.raise(i),
            Begun => self.lock(i),
            Locked if fence_first => self.commit(i),
            Locked => self.raise(i),
            Fenced if fence_first => self.lock(i),
            Fenced => self.commit(i),
            Ended if writer.is_legacy => {
                self.set_key(Key::Tombstone);
                self.write_returns(i, true)
            }
            Ended => {
                self.replicas[usize::from(writer.replica)].key_version += 1;
                if model.mutant == Mutant::BumpBeforeInvalidate {
                    self.bump_own(model, writer);
                }
                Bumped
            }
            Bumped if writer.puts && self.can_put(writer) => {
                self.writers[i].puts = false;
                if self.execute_put(model, i as u8, writer.version) {
                    self.replicas[usize::from(writer.replica)].has_recent = true;
                    self.invalidation_done(i, true)
                } else {
                    Bumped
                }
            }
            Bumped => {
                self.execute_invalidate(model, own(model, i, writer));
                self.replicas[usize::from(writer.replica)].has_recent = true;
                self.invalidation_done(i, true)
            }
            Finished { invalidated } => {
                if model.mutant == Mutant::PendingQueuedAfterBump && !invalidated {
                    self.enqueue_pending(model, i, writer);
                } else if model.mutant != Mutant::BumpBeforeInvalidate {
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
        self.set_key(Key::Fence {
            writer: i as u8,
            marked: false,
        });
        self.writers[i].acknowledged = true;
        WriterPhase::Fenced
    }

    fn commit(&mut self, i: usize) -> WriterPhase {
        self.lock = None;
        self.database += 1;
        self.writers[i].version = self.database;
        WriterPhase::Ended
    }

    pub(super) fn write_timeout(&mut self, model: &Protocol, i: usize) {
        self.faults -= 1;
        let writer = self.writers[i];
        if writer.phase != WriterPhase::Bumped {
            self.delayed(Delayed::Fence(i as u8));
            self.writers[i].phase = WriterPhase::Fenced;
            return;
        }
        if writer.puts && self.can_put(writer) {
            self.writers[i].puts = false;
            return self.delayed(Delayed::Put {
                writer: i as u8,
                value: writer.version,
            });
        }
        let own = own(model, i, writer);
        self.delayed(Delayed::Invalidate { own });
        if model.mutant == Mutant::PendingQueuedAfterBump {
            self.bump_own(model, writer);
        }
        if !matches!(
            model.mutant,
            Mutant::PendingQueuedAfterBump | Mutant::ForgetPendingInvalidation
        ) {
            self.enqueue_pending(model, i, writer);
        }
        self.writers[i].phase = self.invalidation_done(i, false);
    }

    /// While the connection to the server is lost, a fence fails, and an invalidation is queued.
    fn write_without_server(&mut self, model: &Protocol, i: usize) {
        let writer = self.writers[i];
        self.writers[i].phase = if writer.phase == WriterPhase::Locked {
            WriterPhase::Fenced
        } else {
            self.writers[i].puts = false;
            self.enqueue_pending(model, i, writer);
            self.invalidation_done(i, false)
        };
    }

    /// Only a write that has committed, and whose fence was acknowledged, stores its value.
    fn can_put(&self, writer: Writer) -> bool {
        writer.version > 0 && writer.acknowledged
    }

    fn enqueue_pending(&mut self, model: &Protocol, i: usize, writer: Writer) {
        let own = own(model, i, writer);
        let pending = &mut self.replicas[usize::from(writer.replica)].pending;
        *pending = Some(own.or(pending.flatten()));
    }

    fn bump_own(&mut self, model: &Protocol, writer: Writer) {
        if self.is_local(writer.replica) {
            self.bump(model);
        }
    }

    /// With a local level the write takes one more step.
    fn invalidation_done(&mut self, i: usize, invalidated: bool) -> WriterPhase {
        if self.is_local(self.writers[i].replica) {
            WriterPhase::Finished { invalidated }
        } else {
            self.write_returns(i, invalidated)
        }
    }

    /// The write returns. From now on reads on the writer's replica must see its version; so
    /// must reads on the others if its fence or INVALIDATE was acknowledged.
    fn write_returns(&mut self, i: usize, invalidated: bool) -> WriterPhase {
        let writer = self.writers[i];
        let fence_lasts = self.fences_last();
        for (replica, here) in self.replicas.iter_mut().enumerate() {
            let own = replica == usize::from(writer.replica) && !writer.is_legacy;
            if own || invalidated || (writer.acknowledged && fence_lasts) {
                here.min_version = here.min_version.max(writer.version);
            }
        }
        if !writer.is_legacy && self.is_local(writer.replica) {
            self.own_write_returned(writer.version);
        }
        WriterPhase::Returned
    }
}

fn own(model: &Protocol, i: usize, writer: Writer) -> Option<u8> {
    let owns = writer.acknowledged || model.mutant == Mutant::InvalidateOwnsUnacknowledgedFence;
    owns.then_some(i as u8)
}
