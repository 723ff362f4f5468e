//! The transitions. A step is what one participant does without waiting.

use super::commands::is_current;
use super::state::{Action, Delayed, Fetch, Group, Phase, Row, State, Wait};
use super::{Groups, Mutant};

pub(super) fn possible(model: &Groups, state: &State, actions: &mut Vec<Action>) {
    for (i, request) in state.requests.iter().enumerate() {
        if request.wait == Wait::NotStarted {
            actions.push(Action::Come(i));
            if state.replicas[usize::from(request.replica)].local.is_some() {
                actions.push(Action::Serve(i));
            }
        }
    }
    for (i, replica) in state.replicas.iter().enumerate() {
        if replica.fetch != Fetch::Idle || state.has_waiters(i) {
            actions.push(Action::Advance(i));
        }
        if state.faults > 0 && matches!(replica.fetch, Fetch::Loaded { lease: Some(_), .. }) {
            actions.push(Action::FillTimeout(i));
        }
        if replica.pending.is_some() {
            actions.push(Action::FlushPending(i));
        }
    }
    for (i, writer) in state.writers.iter().enumerate() {
        if matches!(writer.phase, Phase::Returned | Phase::Crashed) {
            continue;
        }
        actions.push(Action::Write(i));
        let sends = matches!(writer.phase, Phase::Begun | Phase::Committed);
        if sends && state.faults > 0 {
            actions.push(Action::WriteTimeout(i));
        }
        if model.crashes && writer.phase != Phase::Begun {
            actions.push(Action::Crash(i));
        }
    }
    for (i, loaded) in state.legacy.iter().enumerate() {
        if *loaded != Some(u8::MAX) {
            actions.push(Action::Legacy(i));
        }
    }
    actions.extend((0..state.delayed.len()).map(Action::ExecuteDelayed));
    if state.entry != Row::Empty {
        actions.push(Action::ExpireEntry);
    }
    // A confirmed fence outlives the commit of its writer.
    let before_commit = |fence: u8| {
        let writer = &state.writers[usize::from(fence)];
        writer.phase == Phase::Fenced && writer.is_confirmed
    };
    match state.group {
        Group::Generation(_) => actions.push(Action::ExpireGroup),
        Group::Fence(fence) if !before_commit(fence) => actions.push(Action::ExpireGroup),
        Group::Empty | Group::Fence(_) => {}
    }
}

pub(super) fn take(model: &Groups, state: &mut State, action: Action) {
    match action {
        Action::Come(i) => {
            let replica = usize::from(state.requests[i].replica);
            state.requests[i].wait = Wait::Enqueued;
            state.requests[i].returned = state.replicas[replica].returned;
        }
        Action::Serve(i) => {
            let replica = &state.replicas[usize::from(state.requests[i].replica)];
            state.stale_response |= replica.local.is_some_and(|value| value < replica.returned);
            state.requests[i].wait = Wait::Completed;
            state.completed += 1;
        }
        Action::Advance(replica) => state.advance(model, replica),
        Action::FillTimeout(replica) => state.fill_timeout(replica),
        Action::Write(writer) => state.write(model, writer),
        Action::WriteTimeout(writer) => state.write_timeout(model, writer),
        Action::Crash(writer) => state.crash(writer),
        Action::Legacy(i) => match state.legacy[i] {
            None => state.legacy[i] = Some(state.database),
            Some(version) => {
                state.legacy[i] = Some(u8::MAX);
                state.set_entry(Row::Value { version, tag: None });
            }
        },
        Action::ExecuteDelayed(i) => match state.delayed.remove(i) {
            Delayed::Fence(writer) => state.set_fence(model, writer),
            Delayed::Invalidate { own } => state.invalidate(model, own),
            Delayed::Fill {
                lease,
                version,
                tag,
            } => drop(state.fill(lease, version, tag)),
        },
        Action::FlushPending(replica) => {
            if let Some(own) = state.replicas[replica].pending.take() {
                state.invalidate(model, own);
            }
        }
        Action::ExpireEntry => state.set_entry(Row::Empty),
        Action::ExpireGroup => state.set_group(model, Group::Empty),
    }
}

impl State {
    /// The fetch of a replica takes its next step.
    fn advance(&mut self, model: &Groups, replica: usize) {
        let next = match self.replicas[replica].fetch {
            Fetch::Idle => {
                self.move_waiters(replica, Wait::Enqueued, Wait::Admitted);
                let bypasses = model.mutant != Mutant::PendingNotBypassed;
                if self.replicas[replica].pending.is_some() && bypasses {
                    Fetch::ToLoad {
                        lease: None,
                        tag: None,
                    }
                } else {
                    let row = self.entry;
                    Fetch::GotRow {
                        row,
                        unchanged: true,
                    }
                }
            }
            Fetch::GotRow { row, unchanged } => self.got_group(model, row, unchanged),
            Fetch::Hit { version, unchanged } => {
                self.hits = 1;
                self.deliver(replica, Wait::Admitted, version);
                let unchanged = unchanged || model.mutant == Mutant::StampAfterGet;
                if model.local && replica == 0 && unchanged {
                    self.replicas[replica].local = Some(version);
                }
                Fetch::Idle
            }
            Fetch::Missed { group } => {
                self.move_waiters(replica, Wait::Enqueued, Wait::Admitted);
                let lease = self.new_lease();
                // A payload that the fetch has rejected is replaced.
                let is_replaced =
                    !is_current(model, self.entry, group) && !matches!(self.entry, Row::Lease(_));
                let row = self.entry;
                if is_replaced {
                    self.set_entry(Row::Lease(lease));
                }
                Fetch::GotLease {
                    row,
                    lease: is_replaced.then_some(lease),
                    before: group,
                }
            }
            Fetch::GotLease { row, lease, before } => {
                let now = self.get_generation(model);
                let group = match (model.mutant, before) {
                    (Mutant::GroupNotReadWithLease, Group::Generation(_)) => before,
                    _ => now,
                };
                self.got_generation(model, replica, (row, lease), group)
            }
            Fetch::ToLoad { lease, tag } => {
                self.move_waiters(replica, Wait::Enqueued, Wait::Admitted);
                Fetch::Loaded {
                    lease,
                    tag,
                    version: self.database,
                    writes: self.replicas[replica].writes,
                }
            }
            Fetch::Loaded { .. } | Fetch::Filled { .. } => self.finish(model, replica),
        };
        self.replicas[replica].fetch = next;
    }

    /// The fill of a loaded value, and its delivery.
    fn finish(&mut self, model: &Groups, replica: usize) -> Fetch {
        match self.replicas[replica].fetch {
            Fetch::Loaded {
                lease: Some(lease),
                tag,
                version,
                writes,
            } if self.may_fill(replica, writes) => {
                let tag = match (model.mutant, self.group) {
                    (Mutant::TagWhenFilling, Group::Generation(now)) => Some(now),
                    _ => tag,
                };
                self.move_waiters(replica, Wait::Enqueued, Wait::Deferred);
                let accepted = self.fill(lease, version, tag);
                Fetch::Filled { version, accepted }
            }
            Fetch::Loaded { version, .. } => {
                self.deliver(replica, Wait::Admitted, version);
                Fetch::Idle
            }
            Fetch::Filled { version, accepted } => {
                self.deliver(replica, Wait::Admitted, version);
                if accepted && model.mutant == Mutant::DeferToFill {
                    self.deliver(replica, Wait::Deferred, version);
                }
                self.move_waiters(replica, Wait::Deferred, Wait::Enqueued);
                Fetch::Idle
            }
            other => other,
        }
    }

    /// GET of the group was executed, after that of the entry.
    fn got_group(&self, model: &Groups, row: Row, unchanged: bool) -> Fetch {
        match (row, self.group) {
            (_, Group::Fence(_)) => Fetch::ToLoad {
                lease: None,
                tag: None,
            },
            (Row::Value { version, .. }, group) if is_current(model, row, group) => {
                Fetch::Hit { version, unchanged }
            }
            (_, group) => Fetch::Missed { group },
        }
    }

    /// GETLEASE and GETGEN were executed.
    fn got_generation(
        &mut self,
        model: &Groups,
        replica: usize,
        (row, lease): (Row, Option<u8>),
        group: Group,
    ) -> Fetch {
        let tag = match group {
            Group::Generation(generation) => Some(generation),
            Group::Empty | Group::Fence(_) => None,
        };
        match (row, lease) {
            (Row::Value { version, .. }, None) if is_current(model, row, group) => {
                self.deliver(replica, Wait::Admitted, version);
                Fetch::Idle
            }
            // Another payload would be rejected next; here it is loaded without a fill.
            (_, None) => Fetch::ToLoad { lease, tag: None },
            (_, Some(held)) if tag.is_none() => {
                if self.entry == Row::Lease(held) {
                    self.set_entry(Row::Empty);
                }
                Fetch::ToLoad {
                    lease: None,
                    tag: None,
                }
            }
            (_, Some(_)) => Fetch::ToLoad { lease, tag },
        }
    }

    /// Whether the replica has written nothing since the load began.
    fn may_fill(&self, replica: usize, writes: u8) -> bool {
        let replica = &self.replicas[replica];
        replica.writes == writes && replica.pending.is_none()
    }

    fn fill_timeout(&mut self, replica: usize) {
        if let Fetch::Loaded {
            lease: Some(lease),
            tag,
            version,
            ..
        } = self.replicas[replica].fetch
        {
            self.faults -= 1;
            self.delayed.push(Delayed::Fill {
                lease,
                version,
                tag,
            });
            self.deliver(replica, Wait::Admitted, version);
            self.replicas[replica].fetch = Fetch::Idle;
        }
    }
}
