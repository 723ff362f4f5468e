//! The transitions. A step is what one participant does without waiting.

use super::failover::Server;
use super::local::possible as local_transitions;
use super::state::{Action, Delayed, Key, RequestPhase, Slot, State, Writer, WriterPhase};
use super::{Mutant, Protocol};

pub(super) fn possible(model: &Protocol, state: &State, actions: &mut Vec<Action>) {
    for (i, request) in state.requests.iter().enumerate() {
        if request.phase == RequestPhase::NotStarted {
            actions.push(Action::Come(i));
            if state.is_local(request.replica) && state.usable().is_some() {
                actions.push(Action::Serve(i));
            }
        }
    }
    for (i, replica) in state.replicas.iter().enumerate() {
        if replica.slot != Slot::Idle || state.has_waiters(i) {
            actions.push(Action::Advance(i));
            if state.faults > 0 && state.sends_next(model, i) {
                actions.push(Action::AdvanceTimeout(i));
            }
        }
        if replica.pending.is_some() && replica.server.is_used() {
            actions.push(Action::FlushPending(i));
        }
    }
    for (i, writer) in state.writers.iter().enumerate() {
        writer_actions(model, state, i, writer, actions);
    }
    actions.extend((0..state.delayed.len()).map(Action::ExecuteDelayed));
    if may_expire(state) {
        actions.push(Action::Expire);
    }
    if state.failovers > 0 {
        actions.extend(state.history.iter().copied().map(Action::FailOver));
    }
    let is_behind = |i: &usize| state.replicas[*i].server != Server::Connected;
    actions.extend(
        (0..state.replicas.len())
            .filter(is_behind)
            .map(Action::Reconnect),
    );
    if state.flushes > 0 {
        actions.push(Action::Flush);
    }
    local_transitions(model, state, actions);
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
    if writer.is_legacy {
        if model.crashes && writer.phase == WriterPhase::Ended {
            actions.push(Action::Crash(i));
        }
        return;
    }
    let sends = writer.phase == Bumped || writer.phase == if fence_first { Begun } else { Locked };
    if sends && state.faults > 0 && state.uses_server(writer.replica.into()) {
        actions.push(Action::WriteTimeout(i));
    }
    if writer.phase == Fenced && !fence_first {
        actions.push(Action::RollBack(i));
    }
    if model.crashes && !matches!(writer.phase, Begun | Locked) {
        actions.push(Action::Crash(i));
    }
}

/// Any key may expire at any time, except a fence between its acknowledgement and the commit of
/// its writer: that the fence outlives the commit is the protocol's only assumption about time.
/// (The fence in the key is then that writer's, or a later one with the same TTL.)
fn may_expire(state: &State) -> bool {
    let before_commit =
        |writer: &Writer| writer.phase == WriterPhase::Fenced && writer.acknowledged;
    match state.key {
        Key::Empty => false,
        Key::Fence { .. } => !state.writers.iter().any(before_commit),
        _ => true,
    }
}

pub(super) fn take(model: &Protocol, state: &mut State, action: Action) {
    match action {
        Action::Come(request) => state.enqueue(model, request),
        Action::Serve(request) => state.serve(model, request),
        Action::Advance(replica) => state.advance(model, replica),
        Action::AdvanceTimeout(replica) => state.advance_timeout(model, replica),
        Action::Write(writer) => state.write(model, writer),
        Action::WriteTimeout(writer) => state.write_timeout(model, writer),
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
        Action::ExecuteDelayed(delayed) => match state.delayed.remove(delayed) {
            Delayed::GetLease(lease) => drop(state.execute_get_lease(lease)),
            Delayed::Fill { lease, value } => drop(state.execute_fill(model, lease, value)),
            Delayed::Fence(writer) => state.set_key(Key::Fence {
                writer,
                marked: false,
            }),
            Delayed::Put { writer, value } => drop(state.execute_put(model, writer, value)),
            Delayed::Invalidate { own } => state.execute_invalidate(model, own),
        },
        Action::FlushPending(replica) => {
            if let Some(own) = state.replicas[replica].pending.take() {
                state.execute_invalidate(model, own);
                state.replicas[replica].has_recent = true;
            }
        }
        Action::FailOver(key) => state.fail_over(key),
        Action::Reconnect(replica) => state.reconnect(model, replica),
        Action::Expire => state.set_key(Key::Empty),
        Action::Flush => state.flush(model),
        Action::Local(event) => state.apply(model, event),
    }
}

/// Commands as Valkey executes them.
impl State {
    /// Sets the key. Every change is pushed to the tracking connection.
    pub(super) fn set_key(&mut self, key: Key) {
        self.remember();
        self.key = key;
        self.push();
    }

    fn flush(&mut self, model: &Protocol) {
        self.flushes -= 1;
        self.flushed = true;
        self.remember();
        self.key = Key::Empty;
        if model.mutant != Mutant::FlushIgnored {
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

    pub(super) fn execute_invalidate(&mut self, model: &Protocol, own: Option<u8>) {
        match self.key {
            Key::Fence { writer, .. } if own != Some(writer) => {
                if model.mutant != Mutant::ForeignFenceUnmarked {
                    self.set_key(Key::Fence {
                        writer,
                        marked: true,
                    });
                }
            }
            _ => self.set_key(Key::Tombstone),
        }
    }

    /// Stores the value of a write if the key holds the write's own, unmarked fence.
    pub(super) fn execute_put(&mut self, model: &Protocol, writer: u8, value: u8) -> bool {
        let own = Key::Fence {
            writer,
            marked: false,
        };
        let accepted = self.key == own || model.mutant == Mutant::PutWithoutFence;
        if accepted {
            self.set_key(Key::Value(value));
        }
        accepted
    }
}
