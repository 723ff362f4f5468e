//! The traces of messages between the commit and the relay.

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, RandomState};

use opentelemetry::Context;
use parking_lot::Mutex;

use crate::model::Message;
use crate::observe::current_trace;

/// The most traces that are kept; the oldest is dropped.
const MAX_TRACES: usize = 1024;

/// The traces of the requests whose messages this process has yet to publish. They are kept in
/// memory only: a message that another process publishes has no trace.
#[derive(Default)]
pub(super) struct MessageTraces {
    hasher: RandomState,
    traces: Mutex<VecDeque<(u64, Context)>>,
}

impl MessageTraces {
    /// Keeps the current trace for a message.
    pub(super) fn insert(&self, message: &Message) {
        let Some(trace) = current_trace() else {
            return;
        };
        let mut traces = self.traces.lock();
        if traces.len() == MAX_TRACES {
            traces.pop_front();
        }
        traces.push_back((self.key(message), trace));
    }

    /// Takes the trace of a message.
    pub(super) fn take(&self, message: &Message) -> Option<Context> {
        let mut traces = self.traces.lock();
        if traces.is_empty() {
            return None;
        }
        let key = self.key(message);
        let at = traces.iter().position(|(kept, _)| *kept == key)?;
        traces.remove(at).map(|(_, trace)| trace)
    }

    fn key(&self, message: &Message) -> u64 {
        self.hasher.hash_one((&message.queue, &message.body))
    }
}
