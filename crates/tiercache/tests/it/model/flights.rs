//! What requests and the lanes that they travel in do.

use super::state::{Key, Lane, Late, RequestPhase, State};
use super::{Mutant, Protocol};

impl State {
    pub(super) fn waits(&self, replica: usize) -> bool {
        let here = self
            .requests
            .iter()
            .filter(|request| usize::from(request.replica) == replica);
        here.clone()
            .any(|request| request.phase == RequestPhase::Waiting)
    }

    pub(super) fn come(&mut self, model: &Protocol, request: usize) {
        let replica = self.replicas[usize::from(self.requests[request].replica)];
        let joins = model.mutant == Mutant::JoinRunningFlight && replica.lane != Lane::Idle;
        let request = &mut self.requests[request];
        request.phase = if joins {
            RequestPhase::Aboard
        } else {
            RequestPhase::Waiting
        };
        request.epoch = replica.epoch;
        request.oldest = replica.promised;
    }

    /// Moves the requests of a replica from one phase to another.
    fn move_requests(&mut self, replica: usize, from: RequestPhase, to: RequestPhase) {
        self.move_requests_of(replica, from, to, |_| true);
    }

    fn move_requests_of(
        &mut self,
        replica: usize,
        from: RequestPhase,
        to: RequestPhase,
        epoch: impl Fn(u8) -> bool,
    ) {
        for request in &mut self.requests {
            if usize::from(request.replica) == replica
                && request.phase == from
                && epoch(request.epoch)
            {
                request.phase = to;
            }
        }
    }

    fn board(&mut self, replica: usize) {
        self.move_requests(replica, RequestPhase::Waiting, RequestPhase::Aboard);
    }

    fn deliver(&mut self, replica: usize, value: u8) {
        let mut answered = false;
        for request in &mut self.requests {
            if usize::from(request.replica) == replica && request.phase == RequestPhase::Aboard {
                request.phase = RequestPhase::Answered;
                self.answers += 1;
                self.stale_answer |= value < request.oldest;
                answered = true;
            }
        }
        if answered && self.is_local(replica as u8) {
            self.answered_past_local(value);
        }
        self.move_requests(replica, RequestPhase::Standby, RequestPhase::Waiting);
        self.replicas[replica].lane = Lane::Idle;
    }

    /// Whether the next step of a lane is a command to Valkey.
    pub(super) fn sends_next(&self, model: &Protocol, replica: usize) -> bool {
        let here = self.replicas[replica];
        match here.lane {
            Lane::Idle => !self.is_local(replica as u8) && !self.bypasses(model, replica),
            Lane::Looking { .. } => true,
            Lane::Loaded { lease, epoch, .. } => {
                lease.is_some() && epoch == here.epoch && here.owed.is_none()
            }
            Lane::Missed { .. } | Lane::Found { .. } | Lane::Filled { .. } => false,
        }
    }

    pub(super) fn fly(&mut self, model: &Protocol, replica: usize) {
        match self.replicas[replica].lane {
            Lane::Idle if self.is_local(replica as u8) => self.take_off(model, replica),
            Lane::Idle => self.look_up(model, replica),
            Lane::Looking { stamped } => self.get(model, replica, stamped),
            Lane::Found { value, stamped } => {
                self.keep(model, value, stamped);
                self.deliver(replica, value);
            }
            Lane::Missed { lease } => {
                self.board(replica);
                let (epoch, value) = (self.replicas[replica].epoch, self.database);
                if self.is_local(replica as u8) && model.mutant != Mutant::EntryOutlivesFlight {
                    // What was loaded takes the entry's place, though it is not to be served.
                    self.forget_entry();
                }
                self.replicas[replica].lane = Lane::Loaded {
                    lease,
                    epoch,
                    value,
                };
            }
            Lane::Loaded {
                lease,
                epoch,
                value,
            } => {
                if let Some(lease) = self.call_standby(model, replica, lease, epoch) {
                    let accepted = self.execute_fill(model, lease, value);
                    self.replicas[replica].lane = Lane::Filled {
                        epoch,
                        value,
                        accepted,
                    };
                } else {
                    self.deliver(replica, value);
                }
            }
            Lane::Filled {
                epoch,
                value,
                accepted,
            } => {
                if accepted {
                    if model.mutant == Mutant::OwnFillKept && self.is_local(replica as u8) {
                        self.keep(model, value, true);
                    }
                    self.move_requests(replica, RequestPhase::Standby, RequestPhase::Aboard);
                    if model.mutant == Mutant::JoinAtFillReply {
                        let same = |of: u8| of == epoch;
                        self.move_requests_of(
                            replica,
                            RequestPhase::Waiting,
                            RequestPhase::Aboard,
                            same,
                        );
                    }
                }
                self.deliver(replica, value);
            }
        }
    }

    fn look_up(&mut self, model: &Protocol, replica: usize) {
        self.board(replica);
        if self.bypasses(model, replica) {
            self.replicas[replica].lane = Lane::Missed { lease: None };
        } else if let Some(value) = self.execute_get(model, replica) {
            self.deliver(replica, value);
        }
    }

    /// The same in the replica with a first level: reads the stamp and looks for debts, in this
    /// order, and GET comes later.
    fn take_off(&mut self, model: &Protocol, replica: usize) {
        self.board(replica);
        self.replicas[replica].lane = if self.bypasses(model, replica) {
            Lane::Missed { lease: None }
        } else {
            Lane::Looking { stamped: true }
        };
    }

    fn get(&mut self, model: &Protocol, replica: usize, stamped: bool) {
        let stamped = stamped || model.mutant == Mutant::StampAfterDebts;
        if let Some(value) = self.execute_get(model, replica) {
            self.replicas[replica].lane = Lane::Found { value, stamped };
        }
    }

    /// Whether the shared level is not to be asked.
    fn bypasses(&self, model: &Protocol, replica: usize) -> bool {
        self.replicas[replica].owed.is_some() && model.mutant != Mutant::DebtsNotBypassed
    }

    /// GET and GETLEASE in one: a GET that finds nothing has no consequence.
    fn execute_get(&mut self, model: &Protocol, replica: usize) -> Option<u8> {
        let leaseless = matches!(model.mutant, Mutant::FillWithoutLease | Mutant::FillIfEmpty);
        let lease = self.nonce(model, replica);
        let lease = match self.key {
            Key::Value(value) => return Some(value),
            _ if leaseless => Some(0),
            _ => (self.execute_get_lease(lease) == Key::Lease(lease)).then_some(lease),
        };
        self.replicas[replica].lane = Lane::Missed { lease };
        None
    }

    fn nonce(&self, model: &Protocol, replica: usize) -> u8 {
        if model.mutant == Mutant::NoncePerProcess {
            replica as u8
        } else {
            self.new_lease()
        }
    }

    /// Before FILL: who may take the value if it is accepted. Without a right to fill, or with
    /// a write of this replica in between, there is no FILL.
    fn call_standby(
        &mut self,
        model: &Protocol,
        replica: usize,
        lease: Option<u8>,
        epoch: u8,
    ) -> Option<u8> {
        let lease = lease?;
        let here = self.replicas[replica];
        let ignores_epochs = model.mutant == Mutant::NoEpoch;
        if !ignores_epochs && (here.epoch != epoch || here.owed.is_some()) {
            if self.key == Key::Lease(lease) {
                self.set_key(Key::Empty);
            }
            return None;
        }
        let of_age = |of: u8| ignores_epochs || of == epoch;
        self.move_requests_of(
            replica,
            RequestPhase::Waiting,
            RequestPhase::Standby,
            of_age,
        );
        Some(lease)
    }

    pub(super) fn fly_unanswered(&mut self, model: &Protocol, replica: usize) {
        self.faults -= 1;
        match self.replicas[replica].lane {
            Lane::Loaded {
                lease: Some(lease),
                value,
                ..
            } => {
                self.late(Late::Fill { lease, value });
                self.deliver(replica, value);
            }
            lane => {
                if lane == Lane::Idle {
                    self.board(replica);
                }
                self.late(Late::GetLease(self.nonce(model, replica)));
                self.replicas[replica].lane = Lane::Missed { lease: None };
            }
        }
    }

    pub(super) fn late(&mut self, command: Late) {
        self.late.push(command);
        self.late.sort();
    }
}
