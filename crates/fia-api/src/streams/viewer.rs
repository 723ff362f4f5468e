//! A viewer of a log: the stream of events of one response.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::streams::entry::{EntryId, Frame, Since, error_event};
use crate::streams::permits::Permit;
use crate::streams::reader::RETRY_DELAY;
use crate::streams::topic::{Notifications, RingRead, Topic};
use crate::streams::valkey::{CommandError, PAGE};
use crate::streams::{Hub, Request};

/// Keep-alive interval.
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// Delay before the stream is aborted, so that its last event is sent.
const FLUSH_DELAY: Duration = Duration::from_millis(100);

/// The reason why a stream was aborted. It never ends normally: the front end reconnects only
/// after an error, and takes a normal end for the end of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// The server is shutting down.
    #[error("server shutting down")]
    Stopping,
    /// The viewer's token expired.
    #[error("token expired")]
    Expired,
    /// The viewer fell behind the ring.
    #[error("viewer too slow")]
    TooSlow,
}

/// Creates the stream of a viewer.
pub(super) fn view(
    hub: Arc<Hub>,
    topic: Arc<Topic>,
    permit: Permit,
    request: &Request,
) -> impl Stream<Item = Result<Bytes, Ended>> + Send + use<> {
    let viewer = Viewer {
        end: End {
            ending: hub.ending.subscribe(),
            expiry: request.until.and_then(instant),
        },
        cursor: Cursor {
            notifications: topic.subscribe(),
            outages: 0,
            position: Position::Start(request.since),
            pending: VecDeque::new(),
            delay: None,
            hub,
            topic,
        },
        is_too_slow: false,
        _permit: permit,
    };
    stream::unfold(viewer, |mut viewer| async move {
        let next = viewer.next().await;
        Some((next, viewer))
    })
}

struct Viewer {
    cursor: Cursor,
    end: End,
    is_too_slow: bool,
    _permit: Permit,
}

impl Viewer {
    async fn next(&mut self) -> Result<Bytes, Ended> {
        if self.is_too_slow {
            sleep(FLUSH_DELAY).await;
            return Err(Ended::TooSlow);
        }
        let next = tokio::select! {
            biased;
            ended = self.end.reached() => return Err(ended),
            next = self.cursor.next() => next,
        };
        Ok(next.unwrap_or_else(|TooSlow| {
            self.is_too_slow = true;
            error_event("Too slow: entries were left out. Resume after the last id.")
        }))
    }
}

/// External events that abort a stream.
struct End {
    ending: watch::Receiver<bool>,
    expiry: Option<Instant>,
}

impl End {
    async fn reached(&mut self) -> Ended {
        let expired = async {
            match self.expiry {
                Some(expiry) => sleep_until(expiry).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.ending.wait_for(|ending| *ending) => Ended::Stopping,
            () = expired => Ended::Expired,
        }
    }
}

/// Converts an expiry; `None` (never) if it is beyond the range of the clock.
fn instant(time: SystemTime) -> Option<Instant> {
    let left = time.duration_since(SystemTime::now()).unwrap_or_default();
    Instant::now().checked_add(left)
}

/// The position of a viewer.
#[derive(Debug, Clone, Copy)]
enum Position {
    /// Not resolved against the log yet.
    Start(Since),
    /// After this entry, older than the ring: read from Valkey.
    History(EntryId),
    /// After this entry, within the ring.
    Ring(EntryId),
}

/// The next entries were evicted from the ring before they were read.
struct TooSlow;

/// The reading side of a viewer.
struct Cursor {
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
    /// Returns the next event: an entry, an error, or a keep-alive.
    async fn next(&mut self) -> Result<Bytes, TooSlow> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Ok(event);
            }
            if let Some(delay) = self.delay.take() {
                sleep(delay).await;
            }
            let step = match self.position {
                Position::Start(since) => self.start(since).await,
                Position::History(after) => self.read_history(after).await,
                Position::Ring(after) => {
                    if let Some(event) = self.read_ring(after).await? {
                        return Ok(event);
                    }
                    Ok(())
                }
            };
            if let Err(error) = step {
                tracing::debug!(%error, "live log unreadable: viewer waits");
                self.delay = Some(RETRY_DELAY);
                return Ok(unavailable());
            }
        }
    }

    /// Determines where the log ends, and starts to follow it from there.
    async fn start(&mut self, since: Since) -> Result<(), CommandError> {
        let (tail, floor) = loop {
            if let Some(ends) = self.topic.tail().zip(self.topic.floor()) {
                break ends;
            }
            self.topic
                .start(self.hub.history.last(&self.topic.key).await?);
            self.hub.wake.notify_one();
        };
        self.outages = self.notifications.borrow_and_update().outages;
        self.position = match since {
            Since::Now => Position::Ring(tail),
            // The ring may hold entries that were trimmed from the stream: only a viewer that
            // resumes may read them, not one from the start.
            Since::After(id) if id > EntryId::ZERO && id >= floor => Position::Ring(id),
            Since::After(id) => Position::History(id),
        };
        Ok(())
    }

    async fn read_history(&mut self, after: EntryId) -> Result<(), CommandError> {
        let Some(floor) = self.topic.floor() else {
            self.position = Position::Start(Since::After(after));
            return Ok(());
        };
        let page = self.hub.history.page(&self.topic.key, after).await?;
        let is_last = page.len() < PAGE;
        let mut reached = self.enqueue(page).unwrap_or(after);
        if is_last {
            // The page was the last, so there is nothing else up to the floor.
            reached = reached.max(floor);
        }
        self.position = match self.topic.after(reached) {
            RingRead::Frames(_) => Position::Ring(reached),
            RingRead::Evicted => Position::History(reached),
            RingRead::NotFollowed => Position::Start(Since::After(reached)),
        };
        Ok(())
    }

    /// Reads from the ring, or waits for a notification. Returns an event, or `None` to try again.
    async fn read_ring(&mut self, after: EntryId) -> Result<Option<Bytes>, TooSlow> {
        let outages = self.notifications.borrow_and_update().outages;
        if outages != self.outages {
            self.outages = outages;
            return Ok(Some(unavailable()));
        }
        match self.topic.after(after) {
            RingRead::Evicted => return Err(TooSlow),
            RingRead::NotFollowed => {
                self.position = Position::Start(Since::After(after));
                return Ok(None);
            }
            RingRead::Frames(frames) => {
                if let Some(reached) = self.enqueue(frames) {
                    self.position = Position::Ring(reached);
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
