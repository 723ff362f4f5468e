//! The reading side of a viewer: from Valkey until it has caught up, then from the ring.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::streams::Hub;
use crate::streams::connection::CommandError;
use crate::streams::entry::{EntryId, Frame, Since, error_event};
use crate::streams::reader::RETRY_DELAY;
use crate::streams::ring::{Joined, RingPosition, RingRead};
use crate::streams::topic::{Notifications, Topic};
use crate::streams::valkey::ReadFrom;

/// Keep-alive interval.
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// Delay before a page is read again that does not fit the progress of the reader.
const SETTLE_DELAY: Duration = Duration::from_millis(100);

/// The position of a viewer.
#[derive(Debug, Clone, Copy)]
enum Position {
    /// Not resolved against the log yet.
    Start(Since),
    /// Older than the ring: read from Valkey.
    History(History),
    /// Within the ring.
    Ring(RingPosition),
}

#[derive(Debug, Clone, Copy)]
struct History {
    /// The generation of the ring that `after` is an id of.
    generation: u64,
    after: EntryId,
    /// The viewer read `after` from the ring: if the stream has lost it, entries may be missing.
    is_strict: bool,
}

/// The next entries no longer exist, neither in the ring nor in Valkey.
pub(super) struct TooSlow;

/// A reason why no event was read.
enum ReadError {
    Command(CommandError),
    TooSlow,
}

impl From<CommandError> for ReadError {
    fn from(error: CommandError) -> Self {
        Self::Command(error)
    }
}

/// The reading side of a viewer.
pub(super) struct Cursor {
    hub: Arc<Hub>,
    topic: Arc<Topic>,
    notifications: watch::Receiver<Notifications>,
    outages: u64,
    position: Position,
    /// Events to be returned before anything else is read.
    pending: VecDeque<Bytes>,
    /// Delay before the next read.
    delay: Option<Duration>,
}

impl Cursor {
    pub(super) fn new(hub: Arc<Hub>, topic: Arc<Topic>, since: Since) -> Self {
        Self {
            notifications: topic.subscribe(),
            outages: 0,
            position: Position::Start(since),
            pending: VecDeque::new(),
            delay: None,
            hub,
            topic,
        }
    }

    /// Returns the next event: an entry, an error, or a keep-alive.
    pub(super) async fn next(&mut self) -> Result<Bytes, TooSlow> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Ok(event);
            }
            if let Some(delay) = self.delay.take() {
                sleep(delay).await;
            }
            let step = match self.position {
                Position::Start(since) => self.start(since).await.map_err(ReadError::from),
                Position::History(history) => self.read_history(history).await,
                Position::Ring(from) => {
                    if let Some(event) = self.read_ring(from).await? {
                        return Ok(event);
                    }
                    Ok(())
                }
            };
            match step {
                Ok(()) => {}
                Err(ReadError::TooSlow) => return Err(TooSlow),
                Err(ReadError::Command(error)) => {
                    tracing::debug!(%error, "live log unreadable: viewer waits");
                    self.delay = Some(RETRY_DELAY);
                    return Ok(unavailable());
                }
            }
        }
    }

    /// Determines where the log ends, and starts to follow it from there.
    async fn start(&mut self, since: Since) -> Result<(), CommandError> {
        let (progress, end) = loop {
            if let Some(ends) = self.topic.progress().zip(self.topic.end_position()) {
                break ends;
            }
            let state = self
                .hub
                .history
                .read(&self.topic.key, ReadFrom::End, 1)
                .await?;
            self.topic.start(&state);
            self.hub.wake.notify_one();
        };
        self.outages = self.notifications.borrow_and_update().outages;
        let generation = progress.generation;
        let after = match since {
            Since::Now => {
                self.position = Position::Ring(end);
                return Ok(());
            }
            Since::After(id) => id,
        };
        // The ring may hold entries that were trimmed from the stream: only a viewer that resumes
        // may read them, not one from the start. An id beyond the tail may be of a stream that was
        // deleted; only Valkey can tell.
        if after > EntryId::ZERO
            && after <= progress.tail
            && let Some(Joined::Ring(position)) = self.topic.join(generation, after)
        {
            self.position = Position::Ring(position);
        } else {
            self.read_from(generation, after);
        }
        Ok(())
    }

    fn read_from(&mut self, generation: u64, after: EntryId) {
        self.position = Position::History(History {
            generation,
            after,
            is_strict: false,
        });
    }

    async fn read_history(&mut self, history: History) -> Result<(), ReadError> {
        let History {
            generation,
            after,
            is_strict,
        } = history;
        let Some(before) = self.topic.progress() else {
            self.position = Position::Start(Since::After(after));
            return Ok(());
        };
        let from = if is_strict {
            ReadFrom::At(after)
        } else {
            ReadFrom::After(after)
        };
        let count = self.topic.page_size() + usize::from(is_strict);
        let mut read = self.hub.history.read(&self.topic.key, from, count).await?;
        if before.is_contradicted_by(&read, 0) {
            // The reader has not noticed yet.
            self.delay = Some(SETTLE_DELAY);
            return Ok(());
        }
        if before.generation != generation || read.last < after {
            // The stream began again.
            self.read_from(before.generation, EntryId::ZERO);
            return Ok(());
        }
        self.topic.adapt_page_size(&read.frames);
        let is_last = read.frames.len() < count;
        if is_strict && after > EntryId::ZERO {
            if read.frames.first().is_none_or(|frame| frame.id != after) {
                return Err(ReadError::TooSlow);
            }
            read.frames.remove(0);
        }
        let mut reached = self.enqueue(read.frames).unwrap_or(after);
        if is_last {
            // The page was the last, so there is nothing else up to the floor.
            reached = reached.max(before.floor);
        }
        self.position = match self.topic.join(generation, reached) {
            Some(Joined::Ring(position)) => Position::Ring(position),
            Some(Joined::Behind) => Position::History(History {
                after: reached,
                ..history
            }),
            Some(Joined::OtherGeneration) | None => Position::Start(Since::After(EntryId::ZERO)),
        };
        Ok(())
    }

    /// Reads from the ring, or waits for a notification. Returns an event, or `None` to try again.
    async fn read_ring(&mut self, from: RingPosition) -> Result<Option<Bytes>, TooSlow> {
        let outages = self.notifications.borrow_and_update().outages;
        if outages != self.outages {
            self.outages = outages;
            return Ok(Some(unavailable()));
        }
        match self.topic.read(from) {
            RingRead::Evicted => return Err(TooSlow),
            RingRead::CatchUp { generation, after } => {
                self.position = Position::History(History {
                    generation,
                    after,
                    is_strict: true,
                });
                return Ok(None);
            }
            RingRead::NotFollowed => {
                self.position = Position::Start(Since::After(from.after));
                return Ok(None);
            }
            RingRead::Frames(frames, next) => {
                if self.enqueue(frames).is_some() {
                    self.position = Position::Ring(next);
                    return Ok(None);
                }
            }
        }
        match timeout(KEEP_ALIVE, self.notifications.changed()).await {
            Ok(_) => Ok(None),
            Err(_) => Ok(Some(Bytes::from_static(b": keep-alive\n\n"))),
        }
    }

    /// Queues events. Returns the id of the last one.
    fn enqueue(&mut self, frames: Vec<Frame>) -> Option<EntryId> {
        let last = frames.last().map(|frame| frame.id);
        self.pending
            .extend(frames.into_iter().map(|frame| frame.event));
        last
    }
}

fn unavailable() -> Bytes {
    error_event("The log cannot be read just now; trying again.")
}
