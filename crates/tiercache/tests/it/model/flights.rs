//! Steps of the requests and of the fetches that serve them.

use super::state::{Delayed, Key, RequestPhase, Slot, State};
use super::{Mutant, Protocol};

impl State {
    pub(super) fn has_waiters(&self, replica: usize) -> bool {
        let here = self
            .requests
            .iter()
            .filter(|request| usize::from(request.replica) == replica);
        here.clone()
            .any(|request| request.phase == RequestPhase::Enqueued)
    }

    pub(super) fn enqueue(&mut self, model: &Protocol, request: usize) {
        let replica = self.replicas[usize::from(self.requests[request].replica)];
        let joins = model.mutant == Mutant::JoinRunningFlight && replica.slot != Slot::Idle;
        let request = &mut self.requests[request];
        request.phase = if joins {
            RequestPhase::Admitted
        } else {
            RequestPhase::Enqueued
        };
        request.key_version = replica.key_version;
        request.min_version = replica.min_version;
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
        key_version: impl Fn(u8) -> bool,
    ) {
        for request in &mut self.requests {
            if usize::from(request.replica) == replica
                && request.phase == from
                && key_version(request.key_version)
            {
                request.phase = to;
            }
        }
    }

    fn admit_waiters(&mut self, replica: usize) {
        self.move_requests(replica, RequestPhase::Enqueued, RequestPhase::Admitted);
    }

    fn complete(&mut self, replica: usize, value: u8) {
        let mut completed_any = false;
        for request in &mut self.requests {
            if usize::from(request.replica) == replica && request.phase == RequestPhase::Admitted {
                request.phase = RequestPhase::Completed;
                self.completed += 1;
                self.stale_response |= value < request.min_version;
                completed_any = true;
            }
        }
        if completed_any && self.is_local(replica as u8) {
            self.completed_past_local(value);
        }
        self.move_requests(replica, RequestPhase::Deferred, RequestPhase::Enqueued);
        self.replicas[replica].slot = Slot::Idle;
    }

    /// True if the next step of the fetch is a command to Valkey.
    pub(super) fn sends_next(&self, model: &Protocol, replica: usize) -> bool {
        let here = self.replicas[replica];
        match here.slot {
            Slot::Idle => !self.is_local(replica as u8) && !self.bypasses(model, replica),
            Slot::Getting { .. } => true,
            Slot::Loaded {
                lease, key_version, ..
            } => {
                lease.is_some()
                    && key_version == here.key_version
                    && here.pending.is_none()
                    && here.server.is_used()
            }
            Slot::Miss { .. } | Slot::Hit { .. } | Slot::Filled { .. } => false,
        }
    }

    pub(super) fn advance(&mut self, model: &Protocol, replica: usize) {
        match self.replicas[replica].slot {
            Slot::Idle if self.is_local(replica as u8) => self.start_get(model, replica),
            Slot::Idle => self.look_up(model, replica),
            Slot::Getting { unchanged } => self.get(model, replica, unchanged),
            Slot::Hit { value, unchanged } => {
                self.store(model, value, unchanged);
                self.complete(replica, value);
            }
            Slot::Miss { lease } => {
                self.admit_waiters(replica);
                let (key_version, value) = (self.replicas[replica].key_version, self.database);
                if self.is_local(replica as u8) && model.mutant != Mutant::EntryOutlivesFlight {
                    // The loaded value replaces the local entry, as a fallback only.
                    self.forget_entry();
                }
                self.replicas[replica].slot = Slot::Loaded {
                    lease,
                    key_version,
                    value,
                };
            }
            Slot::Loaded {
                lease,
                key_version,
                value,
            } => {
                if let Some(lease) = self.defer_waiters(model, replica, lease, key_version) {
                    let accepted = self.execute_fill(model, lease, value);
                    self.replicas[replica].slot = Slot::Filled {
                        key_version,
                        value,
                        accepted,
                    };
                } else {
                    self.complete(replica, value);
                }
            }
            Slot::Filled {
                key_version,
                value,
                accepted,
            } => {
                if accepted {
                    if model.mutant == Mutant::OwnFillCached && self.is_local(replica as u8) {
                        self.store(model, value, true);
                    }
                    self.move_requests(replica, RequestPhase::Deferred, RequestPhase::Admitted);
                    if model.mutant == Mutant::JoinAtFillReply {
                        let same = |of: u8| of == key_version;
                        self.move_requests_of(
                            replica,
                            RequestPhase::Enqueued,
                            RequestPhase::Admitted,
                            same,
                        );
                    }
                }
                self.complete(replica, value);
            }
        }
    }

    fn look_up(&mut self, model: &Protocol, replica: usize) {
        self.admit_waiters(replica);
        if self.bypasses(model, replica) {
            self.replicas[replica].slot = Slot::Miss { lease: None };
        } else if let Some(value) = self.execute_get(model, replica) {
            self.complete(replica, value);
        }
    }

    /// The same with a local level: takes the read snapshot, then checks for a pending
    /// invalidation, in this order. GET executes in a later step.
    fn start_get(&mut self, model: &Protocol, replica: usize) {
        self.admit_waiters(replica);
        self.replicas[replica].slot = if self.bypasses(model, replica) {
            Slot::Miss { lease: None }
        } else {
            Slot::Getting { unchanged: true }
        };
    }

    fn get(&mut self, model: &Protocol, replica: usize, unchanged: bool) {
        let unchanged = unchanged || model.mutant == Mutant::SnapshotAfterPendingCheck;
        if let Some(value) = self.execute_get(model, replica) {
            self.replicas[replica].slot = Slot::Hit { value, unchanged };
        }
    }

    /// True if the shared level is bypassed for the key.
    fn bypasses(&self, model: &Protocol, replica: usize) -> bool {
        let here = &self.replicas[replica];
        let is_pending = here.pending.is_some() && model.mutant != Mutant::PendingNotBypassed;
        is_pending || !here.server.is_used()
    }

    /// GET and GETLEASE in one step: a GET that misses has no effect.
    fn execute_get(&mut self, model: &Protocol, replica: usize) -> Option<u8> {
        let leaseless = matches!(model.mutant, Mutant::FillWithoutLease | Mutant::FillIfEmpty);
        let lease = self.nonce(model, replica);
        let lease = match self.key {
            Key::Value(value) => return Some(value),
            _ if leaseless => Some(0),
            _ => (self.execute_get_lease(lease) == Key::Lease(lease)).then_some(lease),
        };
        self.replicas[replica].slot = Slot::Miss { lease };
        None
    }

    fn nonce(&self, model: &Protocol, replica: usize) -> u8 {
        if model.mutant == Mutant::NoncePerProcess {
            replica as u8
        } else {
            self.new_lease()
        }
    }

    /// Before FILL: defers the waiters that get the value if the fill is accepted, and returns
    /// the lease. `None`, and no FILL, without a lease or after a write of this replica.
    fn defer_waiters(
        &mut self,
        model: &Protocol,
        replica: usize,
        lease: Option<u8>,
        key_version: u8,
    ) -> Option<u8> {
        let lease = lease?;
        let here = self.replicas[replica];
        if !here.server.is_used() {
            return None;
        }
        let ignores_versions = model.mutant == Mutant::NoKeyVersion;
        if !ignores_versions && (here.key_version != key_version || here.pending.is_some()) {
            if self.key == Key::Lease(lease) {
                self.set_key(Key::Empty);
            }
            return None;
        }
        let matches_version = |of: u8| ignores_versions || of == key_version;
        self.move_requests_of(
            replica,
            RequestPhase::Enqueued,
            RequestPhase::Deferred,
            matches_version,
        );
        Some(lease)
    }

    pub(super) fn advance_timeout(&mut self, model: &Protocol, replica: usize) {
        self.faults -= 1;
        match self.replicas[replica].slot {
            Slot::Loaded {
                lease: Some(lease),
                value,
                ..
            } => {
                self.delayed(Delayed::Fill { lease, value });
                self.complete(replica, value);
            }
            slot => {
                if slot == Slot::Idle {
                    self.admit_waiters(replica);
                }
                self.delayed(Delayed::GetLease(self.nonce(model, replica)));
                self.replicas[replica].slot = Slot::Miss { lease: None };
            }
        }
    }

    pub(super) fn delayed(&mut self, command: Delayed) {
        self.delayed.push(command);
        self.delayed.sort();
    }
}
