//! The events of a world, in the order in which they happen.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use bytes::Bytes;

/// What happens at some time.
pub(crate) enum Event {
    /// Bytes arrive at a server.
    Out(usize, Bytes),
    /// Bytes arrive at the client.
    In(usize, Bytes),
    /// The servers send the pushes that are due.
    Push,
    /// The client has closed the connection.
    Left(usize),
    /// The servers delete what has expired.
    Expire,
    /// A server becomes a replica.
    Demote(usize),
    /// A sentinel or a node of a cluster learns of the present set-up.
    Learn(usize),
    /// The source of a moving slot sends its keys on.
    Migrate(usize),
    /// The keys of a moving slot are on its new node.
    MoveEnd(usize),
}

/// Events by their time; those of the same time in the order in which they were added.
#[derive(Default)]
pub(crate) struct Events {
    queue: BinaryHeap<Reverse<Scheduled>>,
    /// The number of events that were ever added.
    pub(crate) added: u64,
}

impl Events {
    pub(crate) fn add(&mut self, at: u64, event: Event) {
        self.added += 1;
        let serial = self.added;
        self.queue.push(Reverse(Scheduled { at, serial, event }));
    }

    /// The time of the next event.
    pub(crate) fn next_time(&self) -> Option<u64> {
        self.queue.peek().map(|Reverse(next)| next.at)
    }

    /// Takes the next event.
    pub(crate) fn take(&mut self) -> Option<Event> {
        self.queue.pop().map(|Reverse(next)| next.event)
    }
}

struct Scheduled {
    at: u64,
    serial: u64,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.serial == other.serial
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.serial).cmp(&(other.at, other.serial))
    }
}
