//! What can happen, step by step. A step is what one party does without waiting.

use super::local::possible as possible_local;
use super::state::{Action, Key, Lane, Late, RequestPhase, State, Writer, WriterPhase};
use super::{Mutant, Protocol};

pub(super) fn possible(model: &Protocol, state: &State, actions: &mut Vec<Action>) {
    for (i, request) in state.requests.iter().enumerate() {
        if request.phase == RequestPhase::Coming {
            actions.push(Action::Come(i));
            if state.is_local(request.replica) && state.usable().is_some() {
                actions.push(Action::Serve(i));
            }
        }
    }
    for (i, replica) in state.replicas.iter().enumerate() {
        if replica.lane != Lane::Idle || state.waits(i) {
            actions.push(Action::Fly(i));
            if state.faults > 0 && state.sends_next(model, i) {
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
    if state.flushes > 0 {
        actions.push(Action::Flush);
    }
    possible_local(model, state, actions);
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
        if model.crashes && writer.phase == WriterPhase::Ended {
            actions.push(Action::Crash(i));
        }
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
        Action::Serve(request) => state.serve(model, request),
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
            Late::Fence(writer) => state.set_key(Key::Fence(writer)),
            Late::Fin { own } => state.execute_fin(own),
        },
        Action::Settle(replica) => {
            if let Some(own) = state.replicas[replica].owed.take() {
                state.execute_fin(own);
            }
        }
        Action::Expire => state.set_key(Key::Empty),
        Action::Flush => state.flush(model),
        Action::Local(event) => state.happen(model, event),
    }
}

/// What Valkey does.
impl State {
    /// Whatever changes the key is pushed to those who track it.
    pub(super) fn set_key(&mut self, key: Key) {
        self.key = key;
        self.push();
    }

    fn flush(&mut self, model: &Protocol) {
        self.flushes -= 1;
        self.flushed = true;
        self.key = Key::Empty;
        if model.mutant != Mutant::FlushUnheard {
            self.push();
        }
    }

    pub(super) fn execute_get_lease(&mut self, lease: u8) -> Key {
        if matches!(self.key, Key::Empty | Key::Tombstone) {
            self.set_key(Key::Lease(lease));
        }
        self.key
    }

    pub(super) fn execute_fill(&mut self, model: &Protocol, lease: u8, value: u8) -> bool {
        let accepted = match model.mutant {
            Mutant::FillWithoutLease => true,
            Mutant::FillIfEmpty => self.key == Key::Empty,
            _ => self.key == Key::Lease(lease),
        };
        if accepted {
            self.set_key(Key::Value(value));
        }
        accepted
    }

    pub(super) fn execute_fin(&mut self, own: Option<u8>) {
        let anothers = matches!(self.key, Key::Fence(writer) if own != Some(writer));
        if !anothers {
            self.set_key(Key::Tombstone);
        }
    }
}
