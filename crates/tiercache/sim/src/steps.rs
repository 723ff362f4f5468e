//! Faults at a step of the protocol, such as between a COMMIT and its reply.

use std::sync::Arc;

use bytes::Bytes;
use tiercache::simulated::Process;
use tokio::sync::Notify;

use crate::plan::{Fault, Step, Stepped};
use crate::valkey::scripts::Script;
use crate::world::State;

/// The faults that wait for a step.
#[derive(Default)]
pub(crate) struct Steps {
    armed: Vec<Stepped>,
    /// Faults whose step has happened.
    due: Vec<Fault>,
    /// The tasks of each process.
    tasks: Vec<Option<Process>>,
    /// Notified when a fault is due.
    pub(crate) became_due: Arc<Notify>,
}

impl Steps {
    /// The tasks of a process, which has started.
    pub(crate) fn started(&mut self, process: usize, tasks: Process) {
        let count = self.tasks.len().max(process + 1);
        self.tasks.resize(count, None);
        self.tasks[process] = Some(tasks);
    }

    /// From now on a fault waits for its step.
    pub(crate) fn arm(&mut self, stepped: Stepped) {
        self.armed.push(stepped);
    }

    /// No fault waits any more.
    pub(crate) fn disarm(&mut self) {
        self.armed.clear();
    }

    /// Takes the faults whose step has happened.
    pub(crate) fn take_due(&mut self) -> Vec<Fault> {
        std::mem::take(&mut self.due)
    }
}

impl State {
    /// A process has taken a step. If a fault of the process waits for it, none of its tasks runs
    /// from now on, until the fault happens, at the same time.
    pub(crate) fn step(&mut self, process: usize, step: Step) {
        let is_due = |armed: &Stepped| {
            let concerns = armed.fault.process();
            armed.step == step && concerns.is_none_or(|concerned| concerned == process)
        };
        let Some(i) = self.steps.armed.iter().position(is_due) else {
            return;
        };
        let armed = self.steps.armed.swap_remove(i);
        let tasks = self.steps.tasks.get(process).and_then(Option::as_ref);
        if let Some(tasks) = tasks.filter(|_| armed.fault.process().is_some()) {
            tasks.pause(false);
        }
        self.coverage.count(step.name());
        self.steps.due.push(armed.fault);
        self.steps.became_due.notify_one();
    }

    /// The step of a command that Valkey has executed.
    pub(crate) fn command_step(&mut self, process: usize, args: &[Bytes]) {
        let script = || Script::of_hash(&args[1]);
        let step = match (&args[0][..], args.len()) {
            (b"GET", _) => Step::Get,
            (b"SET", 3..) if args[2].starts_with(b"null\n") => Step::Fence,
            (b"EVALSHA", 2..) => match script() {
                Some(Script::GetLease) => Step::Lease,
                Some(Script::Fill) => Step::Fill,
                Some(Script::Invalidate) => Step::Invalidate,
                _ => return,
            },
            _ => return,
        };
        self.step(process, step);
    }
}
