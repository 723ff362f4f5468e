//! A log with viewers: a ring buffer of its latest entries.

use std::collections::VecDeque;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use crate::streams::entry::{EntryId, Frame};

/// Maximum number of entries of a ring.
const MAX_FRAMES: usize = 2048;
/// Maximum size of a ring in bytes; it holds at least one entry of any size.
const MAX_BYTES: usize = 2 * 1024 * 1024;
/// Maximum number of entries that a viewer reads at once.
const MAX_READ: usize = 64;

/// A followed log and its notifications.
pub(super) struct Topic {
    pub(super) key: String,
    /// `None` while the log is not followed.
    ring: Mutex<Option<Ring>>,
    notifications: watch::Sender<Notifications>,
}

/// Counters of events; each change wakes the viewers.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Notifications {
    /// Number of successful reads.
    reads: u64,
    /// Number of failed reads.
    pub(super) outages: u64,
}

/// The result of a read from the ring.
#[derive(Debug)]
pub(super) enum RingRead {
    /// The next entries; may be empty.
    Frames(Vec<Frame>),
    /// The next entries were evicted from the ring.
    Evicted,
    /// The log is not followed.
    NotFollowed,
}

impl Topic {
    pub(super) fn new(key: String) -> Self {
        Self {
            key,
            ring: Mutex::new(None),
            notifications: watch::Sender::default(),
        }
    }

    /// Starts to follow the log after an entry, unless it is already followed.
    pub(super) fn start(&self, after: EntryId) {
        self.ring().get_or_insert_with(|| Ring::new(after));
    }

    /// Stops to follow the log until it is started again.
    pub(super) fn suspend(&self) {
        *self.ring() = None;
        self.report_outage();
    }

    /// The last entry that was read; `None` if the log is not followed.
    pub(super) fn tail(&self) -> Option<EntryId> {
        self.ring().as_ref().map(|ring| ring.tail)
    }

    /// The entry after which the ring is complete.
    pub(super) fn floor(&self) -> Option<EntryId> {
        self.ring().as_ref().map(|ring| ring.floor)
    }

    /// Reads the next entries after one.
    pub(super) fn after(&self, id: EntryId) -> RingRead {
        self.ring()
            .as_ref()
            .map_or(RingRead::NotFollowed, |ring| ring.after(id))
    }

    /// Appends entries and notifies the viewers.
    pub(super) fn add(&self, frames: Vec<Frame>) {
        if let Some(ring) = self.ring().as_mut() {
            frames.into_iter().for_each(|frame| ring.push(frame));
        }
        self.notifications
            .send_modify(|counters| counters.reads += 1);
    }

    /// Notifies the viewers of a failed read.
    pub(super) fn report_outage(&self) {
        self.notifications
            .send_modify(|counters| counters.outages += 1);
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Notifications> {
        self.notifications.subscribe()
    }

    fn ring(&self) -> MutexGuard<'_, Option<Ring>> {
        self.ring.lock()
    }
}

struct Ring {
    frames: VecDeque<Frame>,
    bytes: usize,
    floor: EntryId,
    tail: EntryId,
}

impl Ring {
    fn new(after: EntryId) -> Self {
        Self {
            frames: VecDeque::new(),
            bytes: 0,
            floor: after,
            tail: after,
        }
    }

    fn push(&mut self, frame: Frame) {
        self.tail = frame.id;
        self.bytes += frame.event.len();
        self.frames.push_back(frame);
        while self.frames.len() > MAX_FRAMES || (self.bytes > MAX_BYTES && self.frames.len() > 1) {
            if let Some(oldest) = self.frames.pop_front() {
                self.bytes -= oldest.event.len();
                self.floor = oldest.id;
            }
        }
    }

    fn after(&self, id: EntryId) -> RingRead {
        if id < self.floor {
            return RingRead::Evicted;
        }
        let first = self.frames.partition_point(|frame| frame.id <= id);
        let frames = self.frames.range(first..).take(MAX_READ);
        RingRead::Frames(frames.cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u64) -> EntryId {
        EntryId::parse(&n.to_string()).unwrap()
    }

    fn frame(n: u64, size: usize) -> Frame {
        Frame {
            id: id(n),
            event: vec![b'x'; size].into(),
        }
    }

    fn after(topic: &Topic, n: u64) -> Option<Vec<EntryId>> {
        match topic.after(id(n)) {
            RingRead::Frames(frames) => Some(frames.iter().map(|frame| frame.id).collect()),
            RingRead::Evicted | RingRead::NotFollowed => None,
        }
    }

    #[test]
    fn a_read_returns_the_next_entries_or_detects_evicted_ones() {
        let topic = Topic::new("log".to_owned());
        assert!(matches!(topic.after(id(5)), RingRead::NotFollowed));
        topic.start(id(5));
        topic.start(id(9));
        assert_eq!(after(&topic, 5), Some(vec![]));
        assert!(matches!(topic.after(id(4)), RingRead::Evicted));
        topic.add(vec![frame(6, 1), frame(8, 1)]);
        assert_eq!(after(&topic, 5), Some(vec![id(6), id(8)]));
        assert_eq!(after(&topic, 7), Some(vec![id(8)]));
        assert_eq!(after(&topic, 100), Some(vec![]));
        assert_eq!(topic.tail(), Some(id(8)));
        topic.suspend();
        assert!(matches!(topic.after(id(8)), RingRead::NotFollowed));
    }

    #[test]
    fn a_ring_is_limited_in_entries_and_bytes() {
        let topic = Topic::new("log".to_owned());
        topic.start(id(0));
        topic.add((1..=3000).map(|n| frame(n, 10)).collect());
        assert_eq!(topic.floor(), Some(id(3000 - MAX_FRAMES as u64)));
        topic.add(vec![frame(3001, MAX_BYTES - 15)]);
        assert_eq!(topic.floor(), Some(id(2999)));
        topic.add(vec![frame(3002, 2 * MAX_BYTES)]);
        assert_eq!(topic.floor(), Some(id(3001)));
        assert_eq!(after(&topic, 3001), Some(vec![id(3002)]));
    }

    #[test]
    fn a_read_is_limited_in_entries() {
        let topic = Topic::new("log".to_owned());
        topic.start(id(0));
        topic.add((1..=100).map(|n| frame(n, 10)).collect());
        assert_eq!(after(&topic, 0).unwrap().len(), MAX_READ);
        assert_eq!(after(&topic, 64).unwrap().len(), 36);
    }
}
