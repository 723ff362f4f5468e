//! A log with viewers: its ring buffer and the notifications of its viewers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use crate::streams::entry::{EntryId, Frame};
use crate::streams::ring::{Joined, Progress, Ring, RingPosition, RingRead};
use crate::streams::valkey::StreamRead;

/// Maximum number of entries in a page.
const MAX_PAGE: usize = 100;
/// Number of entries in the first page, before their size is known.
const FIRST_PAGE: usize = 16;
/// Target size of a page in bytes: half of what a ring holds.
const PAGE_BYTES: usize = 1024 * 1024;

/// A followed log and its notifications.
pub(super) struct Topic {
    pub(super) key: String,
    /// `None` while the log is not followed.
    ring: Mutex<Option<Ring>>,
    notifications: watch::Sender<Notifications>,
    page_size: AtomicUsize,
    viewers: AtomicUsize,
}

/// Counts a viewer of a topic until it is dropped.
pub(super) struct Viewing(Arc<Topic>);

impl Viewing {
    pub(super) fn begin(topic: Arc<Topic>) -> Self {
        topic.viewers.fetch_add(1, Ordering::Relaxed);
        Self(topic)
    }
}

impl Drop for Viewing {
    fn drop(&mut self) {
        self.0.viewers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counters of events; each change wakes the viewers.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Notifications {
    /// Number of successful reads.
    reads: u64,
    /// Number of failed reads.
    pub(super) outages: u64,
}

impl Topic {
    pub(super) fn new(key: String) -> Self {
        Self {
            key,
            ring: Mutex::new(None),
            notifications: watch::Sender::default(),
            page_size: AtomicUsize::new(FIRST_PAGE),
            viewers: AtomicUsize::new(0),
        }
    }

    /// The number of viewers.
    pub(super) fn viewers(&self) -> usize {
        self.viewers.load(Ordering::Relaxed)
    }

    /// Starts to follow the log after its last entry, unless it is already followed.
    pub(super) fn start(&self, state: &StreamRead) {
        self.ring().get_or_insert_with(|| Ring::new(state));
    }

    /// Stops to follow the log until it is started again.
    pub(super) fn suspend(&self) {
        *self.ring() = None;
        self.report_outage();
    }

    /// The progress of the reader; `None` if the log is not followed.
    pub(super) fn progress(&self) -> Option<Progress> {
        self.ring().as_ref().map(Ring::progress)
    }

    /// Appends entries after the tail, and notifies the viewers.
    pub(super) fn add(&self, read: StreamRead) {
        self.adapt_page_size(&read.frames);
        let is_empty = read.frames.is_empty();
        if let Some(ring) = self.ring().as_mut() {
            ring.extend(read);
        }
        if !is_empty {
            self.notifications
                .send_modify(|counters| counters.reads += 1);
        }
    }

    /// Follows a stream that began again from its new start.
    pub(super) fn begin_again(&self) {
        if let Some(ring) = self.ring().as_mut() {
            ring.begin_again();
        }
        let key = &self.key;
        tracing::info!(key, "live log began again: following it from its start");
    }

    /// Follows a stream that lost its last entries from its end.
    pub(super) fn roll_back(&self, state: &StreamRead) {
        if let Some(ring) = self.ring().as_mut() {
            ring.roll_back(state);
        }
        let key = &self.key;
        tracing::warn!(
            key,
            "live log lost its last entries: following it from its end"
        );
    }

    /// Entries that prove that a stream, whose last id this is, is not another one.
    pub(super) fn witnesses(&self, last: EntryId) -> Vec<Frame> {
        let ring = self.ring();
        ring.as_ref()
            .map_or_else(Vec::new, |ring| ring.witnesses(last))
    }

    /// The position of entries that are written from now on.
    pub(super) fn end_position(&self) -> Option<RingPosition> {
        self.ring().as_ref().map(Ring::end_position)
    }

    /// The position after an entry of a generation; `None` if the log is not followed.
    pub(super) fn join(&self, generation: u64, after: EntryId) -> Option<Joined> {
        self.ring()
            .as_ref()
            .map(|ring| ring.join(generation, after))
    }

    /// Reads the next entries.
    pub(super) fn read(&self, from: RingPosition) -> RingRead {
        let ring = self.ring();
        ring.as_ref()
            .map_or(RingRead::NotFollowed, |ring| ring.read(from))
    }

    /// Notifies the viewers of a failed read.
    pub(super) fn report_outage(&self) {
        self.notifications
            .send_modify(|counters| counters.outages += 1);
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Notifications> {
        self.notifications.subscribe()
    }

    /// The number of entries to read at once: fewer of large ones, so that a page neither fills
    /// the memory nor evicts what viewers have not read yet.
    pub(super) fn page_size(&self) -> usize {
        self.page_size.load(Ordering::Relaxed)
    }

    /// Adapts the page size to the last page. It at most doubles at once.
    pub(super) fn adapt_page_size(&self, frames: &[Frame]) {
        if frames.is_empty() {
            return;
        }
        let bytes: usize = frames.iter().map(|frame| frame.event.len()).sum();
        let fitting = PAGE_BYTES / (bytes / frames.len()).max(1);
        let most = MAX_PAGE.min(2 * self.page_size());
        self.page_size
            .store(fitting.clamp(1, most), Ordering::Relaxed);
    }

    fn ring(&self) -> MutexGuard<'_, Option<Ring>> {
        self.ring.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_large_entries_are_small() {
        let topic = Topic::new("log".to_owned());
        let page = |size: usize| {
            let frame = Frame {
                id: EntryId::ZERO,
                event: vec![b'x'; size].into(),
            };
            topic.adapt_page_size(&vec![frame; 3]);
            topic.page_size()
        };
        assert_eq!([page(100), page(100), page(100)], [32, 64, 100]);
        assert_eq!(page(PAGE_BYTES / 4), 4);
        assert_eq!(page(2 * PAGE_BYTES), 1);
        assert_eq!([page(100), page(100)], [2, 4]);
    }
}
