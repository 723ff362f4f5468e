//! One log that somebody looks at: its latest entries, for all who do.

use std::collections::VecDeque;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use crate::streams::entry::{EntryId, Frame};

/// The most entries of a ring.
const MAX_FRAMES: usize = 2048;
/// The most that they may hold together, in bytes; one entry there may always be.
const MAX_BYTES: usize = 2 * 1024 * 1024;
/// The most entries that a viewer takes at once.
const TAKEN_AT_ONCE: usize = 64;

/// A log, and what is new of it.
pub(super) struct Topic {
    pub(super) key: String,
    /// `None` until it is known where in the log it begins.
    ring: Mutex<Option<Ring>>,
    news: watch::Sender<News>,
}

/// What has happened so far; each change wakes the viewers.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct News {
    /// How often something was read.
    readings: u64,
    /// How often nothing could be read.
    pub(super) outages: u64,
}

/// What a viewer finds behind an entry.
#[derive(Debug)]
pub(super) enum Ahead {
    /// These entries; perhaps none.
    Frames(Vec<Frame>),
    /// Some entries that the ring does not hold any more.
    Gap,
    /// The log is not followed.
    Unknown,
}

impl Topic {
    pub(super) fn new(key: String) -> Self {
        Self {
            key,
            ring: Mutex::new(None),
            news: watch::Sender::default(),
        }
    }

    /// Begins to hold what comes after an entry, unless it does already.
    pub(super) fn begin(&self, after: EntryId) {
        self.ring().get_or_insert_with(|| Ring::new(after));
    }

    /// Forgets what it holds, until it is begun again.
    pub(super) fn suspend(&self) {
        *self.ring() = None;
        self.report_outage();
    }

    /// The last entry that was read; `None` where the log is not followed.
    pub(super) fn tail(&self) -> Option<EntryId> {
        self.ring().as_ref().map(|ring| ring.tail)
    }

    /// The entry behind which the ring holds everything.
    pub(super) fn floor(&self) -> Option<EntryId> {
        self.ring().as_ref().map(|ring| ring.floor)
    }

    /// The next entries after one.
    pub(super) fn after(&self, id: EntryId) -> Ahead {
        self.ring()
            .as_ref()
            .map_or(Ahead::Unknown, |ring| ring.after(id))
    }

    /// Adds what was read, and tells the viewers.
    pub(super) fn add(&self, frames: Vec<Frame>) {
        if let Some(ring) = self.ring().as_mut() {
            frames.into_iter().for_each(|frame| ring.push(frame));
        }
        self.news.send_modify(|news| news.readings += 1);
    }

    /// Tells the viewers that nothing can be read.
    pub(super) fn report_outage(&self) {
        self.news.send_modify(|news| news.outages += 1);
    }

    pub(super) fn news(&self) -> watch::Receiver<News> {
        self.news.subscribe()
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

    fn after(&self, id: EntryId) -> Ahead {
        if id < self.floor {
            return Ahead::Gap;
        }
        let first = self.frames.partition_point(|frame| frame.id <= id);
        let frames = self.frames.range(first..).take(TAKEN_AT_ONCE);
        Ahead::Frames(frames.cloned().collect())
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
            Ahead::Frames(frames) => Some(frames.iter().map(|frame| frame.id).collect()),
            Ahead::Gap | Ahead::Unknown => None,
        }
    }

    #[test]
    fn what_is_behind_an_entry_is_found_or_known_to_be_lost() {
        let topic = Topic::new("log".to_owned());
        assert!(matches!(topic.after(id(5)), Ahead::Unknown));
        topic.begin(id(5));
        topic.begin(id(9));
        assert_eq!(after(&topic, 5), Some(vec![]));
        assert!(matches!(topic.after(id(4)), Ahead::Gap));
        topic.add(vec![frame(6, 1), frame(8, 1)]);
        assert_eq!(after(&topic, 5), Some(vec![id(6), id(8)]));
        assert_eq!(after(&topic, 7), Some(vec![id(8)]));
        assert_eq!(after(&topic, 100), Some(vec![]));
        assert_eq!(topic.tail(), Some(id(8)));
        topic.suspend();
        assert!(matches!(topic.after(id(8)), Ahead::Unknown));
    }

    #[test]
    fn a_ring_holds_so_many_entries_and_bytes() {
        let topic = Topic::new("log".to_owned());
        topic.begin(id(0));
        topic.add((1..=3000).map(|n| frame(n, 10)).collect());
        assert_eq!(topic.floor(), Some(id(3000 - MAX_FRAMES as u64)));
        topic.add(vec![frame(3001, MAX_BYTES - 15)]);
        assert_eq!(topic.floor(), Some(id(2999)));
        topic.add(vec![frame(3002, 2 * MAX_BYTES)]);
        assert_eq!(topic.floor(), Some(id(3001)));
        assert_eq!(after(&topic, 3001), Some(vec![id(3002)]));
    }

    #[test]
    fn a_viewer_takes_so_many_at_once() {
        let topic = Topic::new("log".to_owned());
        topic.begin(id(0));
        topic.add((1..=100).map(|n| frame(n, 10)).collect());
        assert_eq!(after(&topic, 0).unwrap().len(), TAKEN_AT_ONCE);
        assert_eq!(after(&topic, 64).unwrap().len(), 36);
    }
}
