//! What can happen, step by step. A step is what one party does without waiting.

use super::state::{Action, Key, Lane, Late, RequestPhase, State, Writer, WriterPhase};
use super::{Mutant, Protocol};

pub(super) fn possible(model: &Protocol, state: &State, actions: &mut Vec<Action>) {
    for (i, request) in state.requests.iter().enumerate() {
        if request.phase == RequestPhase::Coming {
            actions.push(Action::Come(i));
        }
    }
    for (i, replica) in state.replicas.iter().enumerate() {
        if replica.lane != Lane::Idle || state.waits(i) {
            actions.push(Action::Fly(i));
            if state.faults > 0 && state.sends_next(i) {
                actions.push(Action::FlyUnanswered(i));
            }
        }
        if replica.owed.is_some() {
            actions.push(Action::Settle(i));
        }
    }
    for (i, writer) in state.writers.iter().enumerate() {
        writer_actions(model, state, i, writer, actions);
    }
    actions.extend((0..state.late.len()).map(Action::Execute));
    if may_expire(state) {
        actions.push(Action::Expire);
    }
}

fn writer_actions(
    model: &Protocol,
    state: &State,
    i: usize,
    writer: &Writer,
    actions: &mut Vec<Action>,
) {
    use WriterPhase::{Begun, Bumped, Crashed, Fenced, Locked, Returned};
    if matches!(writer.phase, Returned | Crashed) {
        return;
    }
    let fence_first = model.mutant == Mutant::FenceBeforeLock;
    let needs_lock = writer.phase == if fence_first { Fenced } else { Begun };
    if !needs_lock || state.lock.is_none() {
        actions.push(Action::Write(i));
    }
    if writer.older {
        return;
    }
    let sends = writer.phase == Bumped || writer.phase == if fence_first { Begun } else { Locked };
    if sends && state.faults > 0 {
        actions.push(Action::WriteUnanswered(i));
    }
    if writer.phase == Fenced && !fence_first {
        actions.push(Action::RollBack(i));
    }
    if model.crashes && !matches!(writer.phase, Begun | Locked) {
        actions.push(Action::Crash(i));
    }
}

/// Everything may expire at any time, but for a fence while a writer who had his acknowledged
/// is before his commit: that a fence outlives the commit is the protocol's one assumption
/// about time. (The fence that stands then is his, or a later one with as long a life.)
fn may_expire(state: &State) -> bool {
    let before_commit =
        |writer: &Writer| writer.phase == WriterPhase::Fenced && writer.acknowledged;
    match state.key {
        Key::Empty => false,
        Key::Fence(_) => !state.writers.iter().any(before_commit),
        _ => true,
    }
}

pub(super) fn take(model: &Protocol, state: &mut State, action: Action) {
    match action {
        Action::Come(request) => state.come(model, request),
        Action::Fly(replica) => state.fly(model, replica),
        Action::FlyUnanswered(replica) => state.fly_unanswered(model, replica),
        Action::Write(writer) => state.write(model, writer),
        Action::WriteUnanswered(writer) => state.write_unanswered(model, writer),
        Action::RollBack(writer) => {
            state.lock = None;
            state.writers[writer].phase = WriterPhase::Ended;
        }
        Action::Crash(writer) => {
            if state.lock == Some(writer as u8) {
                state.lock = None;
            }
            state.writers[writer].phase = WriterPhase::Crashed;
        }
        Action::Execute(late) => match state.late.remove(late) {
            Late::GetLease(lease) => drop(state.execute_get_lease(lease)),
            Late::Fill { lease, value } => drop(state.execute_fill(model, lease, value)),
            Late::Fence(writer) => state.key = Key::Fence(writer),
            Late::Fin { own } => state.execute_fin(own),
        },
        Action::Settle(replica) => {
            if let Some(own) = state.replicas[replica].owed.take() {
                state.execute_fin(own);
            }
        }
        Action::Expire => state.key = Key::Empty,
    }
}

/// What Valkey does.
impl State {
    fn execute_get_lease(&mut self, lease: u8) -> Key {
        if matches!(self.key, Key::Empty | Key::Tombstone) {
            self.key = Key::Lease(lease);
        }
        self.key
    }

    fn execute_fill(&mut self, model: &Protocol, lease: u8, value: u8) -> bool {
        let accepted = match model.mutant {
            Mutant::FillWithoutLease => true,
            Mutant::FillIfEmpty => self.key == Key::Empty,
            _ => self.key == Key::Lease(lease),
        };
        if accepted {
            self.key = Key::Value(value);
        }
        accepted
    }

    fn execute_fin(&mut self, own: Option<u8>) {
        let anothers = matches!(self.key, Key::Fence(writer) if own != Some(writer));
        if !anothers {
            self.key = Key::Tombstone;
        }
    }
}

/// What requests and lanes do.
impl State {
    fn waits(&self, replica: usize) -> bool {
        let here = self
            .requests
            .iter()
            .filter(|request| usize::from(request.replica) == replica);
        here.clone()
            .any(|request| request.phase == RequestPhase::Waiting)
    }

    fn come(&mut self, model: &Protocol, request: usize) {
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
        for request in &mut self.requests {
            if usize::from(request.replica) == replica && request.phase == RequestPhase::Aboard {
                request.phase = RequestPhase::Answered;
                self.answers += 1;
                self.stale_answer |= value < request.oldest;
            }
        }
        self.move_requests(replica, RequestPhase::Standby, RequestPhase::Waiting);
        self.replicas[replica].lane = Lane::Idle;
    }

    /// Whether the next step of a lane is a command to Valkey.
    fn sends_next(&self, replica: usize) -> bool {
        let here = self.replicas[replica];
        match here.lane {
            Lane::Idle => here.owed.is_none(),
            Lane::Loaded { lease, epoch, .. } => {
                lease.is_some() && epoch == here.epoch && here.owed.is_none()
            }
            Lane::Missed { .. } | Lane::Filled { .. } => false,
        }
    }

    fn fly(&mut self, model: &Protocol, replica: usize) {
        match self.replicas[replica].lane {
            Lane::Idle => self.look_up(model, replica),
            Lane::Missed { lease } => {
                self.board(replica);
                let (epoch, value) = (self.replicas[replica].epoch, self.database);
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

    /// GET and GETLEASE in one: a GET that finds nothing has no consequence.
    fn look_up(&mut self, model: &Protocol, replica: usize) {
        self.board(replica);
        let leaseless = matches!(model.mutant, Mutant::FillWithoutLease | Mutant::FillIfEmpty);
        let lease = self.nonce(model, replica);
        let lease = match self.key {
            _ if self.replicas[replica].owed.is_some() => None,
            Key::Value(value) => return self.deliver(replica, value),
            _ if leaseless => Some(0),
            _ => (self.execute_get_lease(lease) == Key::Lease(lease)).then_some(lease),
        };
        self.replicas[replica].lane = Lane::Missed { lease };
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
                self.key = Key::Empty;
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

    fn fly_unanswered(&mut self, model: &Protocol, replica: usize) {
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
            _ => {
                self.board(replica);
                self.late(Late::GetLease(self.nonce(model, replica)));
                self.replicas[replica].lane = Lane::Missed { lease: None };
            }
        }
    }

    fn late(&mut self, command: Late) {
        self.late.push(command);
        self.late.sort();
    }
}

/// What writers do.
impl State {
    fn write(&mut self, model: &Protocol, i: usize) {
        use WriterPhase::{Begun, Bumped, Crashed, Ended, Fenced, Locked, Returned};
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
                self.key = Key::Tombstone;
                self.write_returns(i, true)
            }
            Ended => {
                self.replicas[usize::from(writer.replica)].epoch += 1;
                Bumped
            }
            Bumped => {
                self.execute_fin(own(model, i, writer));
                self.write_returns(i, true)
            }
            Returned | Crashed => writer.phase,
        };
    }

    fn lock(&mut self, i: usize) -> WriterPhase {
        self.lock = Some(i as u8);
        WriterPhase::Locked
    }

    fn raise(&mut self, i: usize) -> WriterPhase {
        self.key = Key::Fence(i as u8);
        self.writers[i].acknowledged = true;
        WriterPhase::Fenced
    }

    fn commit(&mut self, i: usize) -> WriterPhase {
        self.lock = None;
        self.database += 1;
        self.writers[i].version = self.database;
        WriterPhase::Ended
    }

    fn write_unanswered(&mut self, model: &Protocol, i: usize) {
        self.faults -= 1;
        let writer = self.writers[i];
        if writer.phase != WriterPhase::Bumped {
            self.late(Late::Fence(i as u8));
            self.writers[i].phase = WriterPhase::Fenced;
            return;
        }
        let own = own(model, i, writer);
        self.late(Late::Fin { own });
        if model.mutant != Mutant::ForgetDebts {
            let owed = &mut self.replicas[usize::from(writer.replica)].owed;
            *owed = Some(own.or(owed.flatten()));
        }
        self.writers[i].phase = self.write_returns(i, false);
    }

    /// From here on nobody on the writer's replica may get anything older, and nobody elsewhere
    /// either, if the shared level has been told.
    fn write_returns(&mut self, i: usize, invalidated: bool) -> WriterPhase {
        let writer = self.writers[i];
        let fence_lasts = !self.writers.iter().any(|writer| writer.older);
        for (replica, here) in self.replicas.iter_mut().enumerate() {
            let own = replica == usize::from(writer.replica) && !writer.older;
            if own || invalidated || (writer.acknowledged && fence_lasts) {
                here.promised = here.promised.max(writer.version);
            }
        }
        WriterPhase::Returned
    }
}

fn own(model: &Protocol, i: usize, writer: Writer) -> Option<u8> {
    let owns = writer.acknowledged || model.mutant == Mutant::FinOwnsLostFence;
    owns.then_some(i as u8)
}
