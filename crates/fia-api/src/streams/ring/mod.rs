//! The ring buffer of a followed log: its latest entries, numbered in the order of their arrival.
//!
//! A stream may begin again: its writer deletes it, or the clock that its ids come from is set
//! back. The ring then starts a new generation. Entries of all generations have one numbering, so
//! that a viewer who reads by number gets each once, whatever the ids are.

use std::collections::VecDeque;

use crate::streams::entry::{EntryId, Frame};
use crate::streams::valkey::StreamRead;

/// Maximum number of entries of a ring.
pub(super) const MAX_FRAMES: usize = 2048;
/// Maximum size of a ring in bytes; it holds at least one entry of any size.
const MAX_BYTES: usize = 2 * 1024 * 1024;
/// Maximum number of entries that a viewer reads at once.
const MAX_READ: usize = 64;
/// Size in bytes from which a read by a viewer takes no further entry.
const MAX_READ_BYTES: usize = 512 * 1024;

/// The progress of a log's reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) generation: u64,
    /// The last entry that was read; zero if there was none in this generation.
    pub(super) tail: EntryId,
    /// A lower bound of the number of entries that were ever added to the stream.
    pub(super) added: u64,
    /// The entry after which the ring is complete.
    pub(super) floor: EntryId,
}

/// A position in the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RingPosition {
    /// The number of the next entry.
    pub(super) next: u64,
    /// The last entry that was read. A viewer who read it from Valkey may be ahead of the ring.
    pub(super) after: EntryId,
    /// The generation that `after` is an id of.
    pub(super) generation: u64,
}

/// The result of a read from the ring.
#[derive(Debug)]
pub(super) enum RingRead {
    /// The next entries; may be empty.
    Frames(Vec<Frame>, RingPosition),
    /// The next entries were evicted as they are large; Valkey may still have them after this one.
    CatchUp { generation: u64, after: EntryId },
    /// The next entries were evicted.
    Evicted,
    /// The log is not followed.
    NotFollowed,
}

/// The result of an attempt to go on reading from the ring.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Joined {
    /// The ring has all later entries.
    Ring(RingPosition),
    /// The ring lacks some of them.
    Behind,
    /// The stream began again.
    OtherGeneration,
}

pub(super) struct Ring {
    frames: VecDeque<Frame>,
    /// The number of the first frame.
    first: u64,
    bytes: usize,
    progress: Progress,
    /// The number of the first entry of this generation.
    generation_start: u64,
}

impl Progress {
    /// Whether a read that began after this progress was made, and that returned `new` entries
    /// after its tail, shows that the stream began again or lost entries at its end.
    pub(super) fn is_contradicted_by(&self, read: &StreamRead, new: usize) -> bool {
        let expected = self.added + new as u64;
        read.last < self.tail || read.added.is_some_and(|added| added < expected)
    }
}

impl Ring {
    pub(super) fn new(state: &StreamRead) -> Self {
        Self {
            frames: VecDeque::new(),
            first: 0,
            bytes: 0,
            progress: Progress {
                generation: 0,
                tail: state.last,
                added: state.added.unwrap_or(0),
                floor: state.last,
            },
            generation_start: 0,
        }
    }

    pub(super) fn progress(&self) -> Progress {
        self.progress
    }

    /// Starts a new generation: the stream began again.
    pub(super) fn begin_again(&mut self) {
        self.generation_start = self.end();
        self.progress = Progress {
            generation: self.progress.generation + 1,
            tail: EntryId::ZERO,
            added: 0,
            floor: EntryId::ZERO,
        };
    }

    /// Follows a stream that lost its last entries, such as one that was restored.
    pub(super) fn roll_back(&mut self, state: &StreamRead) {
        self.progress.tail = state.last;
        self.progress.added = state.added.unwrap_or(0);
    }

    /// The first and the last entry of this generation up to an id: those that a stream still has
    /// that only lost its last entries.
    pub(super) fn witnesses(&self, last: EntryId) -> Vec<Frame> {
        let own = self.frames.range(self.index(self.generation_start)..);
        let mut kept = own.take_while(|frame| frame.id <= last);
        let first = kept.next().cloned();
        first.into_iter().chain(kept.last().cloned()).collect()
    }

    /// Appends the entries after the tail.
    pub(super) fn extend(&mut self, read: StreamRead) {
        let StreamRead {
            last,
            added,
            frames,
        } = read;
        self.progress.added += frames.len() as u64;
        frames.into_iter().for_each(|frame| self.push(frame));
        if self.progress.tail == last {
            self.progress.added = added.unwrap_or(self.progress.added);
        }
    }

    fn push(&mut self, frame: Frame) {
        self.progress.tail = frame.id;
        self.bytes += frame.event.len();
        self.frames.push_back(frame);
        while self.frames.len() > MAX_FRAMES || (self.bytes > MAX_BYTES && self.frames.len() > 1) {
            if let Some(oldest) = self.frames.pop_front() {
                self.bytes -= oldest.event.len();
                if self.first >= self.generation_start {
                    self.progress.floor = self.progress.floor.max(oldest.id);
                }
                self.first += 1;
            }
        }
    }

    /// The position of entries that are written from now on.
    pub(super) fn end_position(&self) -> RingPosition {
        RingPosition {
            next: self.end(),
            after: self.progress.tail,
            generation: self.progress.generation,
        }
    }

    /// The position after an entry of a generation.
    pub(super) fn join(&self, generation: u64, after: EntryId) -> Joined {
        if generation != self.progress.generation {
            return Joined::OtherGeneration;
        }
        if after < self.progress.floor {
            return Joined::Behind;
        }
        let skipped = self.index(self.generation_start);
        // Within a generation, ids increase.
        let own = self.frames.range(skipped..);
        let older = own.take_while(|frame| frame.id <= after).count();
        Joined::Ring(RingPosition {
            next: self.first + (skipped + older) as u64,
            after,
            generation,
        })
    }

    /// Reads the next entries.
    pub(super) fn read(&self, from: RingPosition) -> RingRead {
        if from.next < self.first {
            let behind = self.end() - from.next;
            if behind > MAX_FRAMES as u64 || from.next < self.generation_start {
                return RingRead::Evicted;
            }
            return RingRead::CatchUp {
                generation: self.progress.generation,
                after: if from.generation == self.progress.generation {
                    from.after
                } else {
                    EntryId::ZERO
                },
            };
        }
        let is_current = from.generation == self.progress.generation;
        let mut position = from;
        let mut frames = Vec::new();
        let mut bytes = 0;
        for (number, frame) in (from.next..).zip(self.frames.range(self.index(from.next)..)) {
            if frames.len() == MAX_READ || bytes >= MAX_READ_BYTES {
                break;
            }
            position.next = number + 1;
            let is_of_position = is_current || number < self.generation_start;
            if is_of_position && frame.id <= from.after {
                continue;
            }
            bytes += frame.event.len();
            frames.push(frame.clone());
            position.after = frame.id;
            if number >= self.generation_start {
                position.generation = self.progress.generation;
            }
        }
        RingRead::Frames(frames, position)
    }

    /// The number of the next entry.
    fn end(&self) -> u64 {
        self.first + self.frames.len() as u64
    }

    /// The index of an entry in `frames`, 0 if it was evicted.
    fn index(&self, number: u64) -> usize {
        let index = usize::try_from(number.saturating_sub(self.first));
        index.unwrap_or(usize::MAX).min(self.frames.len())
    }
}

#[cfg(test)]
mod tests;
