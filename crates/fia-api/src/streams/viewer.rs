//! One who looks on at a log.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::streams::entry::{EntryId, Frame, Since, trouble};
use crate::streams::reader::RETRY;
use crate::streams::seats::Seat;
use crate::streams::topic::{Ahead, News, Topic};
use crate::streams::valkey::{PAGE, Trouble};
use crate::streams::{Hub, Request};

/// How long there is nothing at most.
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// How long a last event has to get out before the connection breaks.
const LAST_WORD: Duration = Duration::from_millis(100);

/// Why a stream is broken off. It never ends otherwise: the front end comes again after an
/// error only, and takes a proper end as the end of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// The server stops.
    #[error("the server stops")]
    Stopping,
    /// The token of the viewer has ended.
    #[error("the token has ended")]
    Expired,
    /// The viewer takes less than is written.
    #[error("the viewer is too slow")]
    TooSlow,
}

/// Looks on.
pub(super) fn view(
    hub: Arc<Hub>,
    topic: Arc<Topic>,
    seat: Seat,
    request: &Request,
) -> impl Stream<Item = Result<Bytes, Ended>> + Send + use<> {
    let viewer = Viewer {
        end: End {
            ending: hub.ending.subscribe(),
            expiry: request.until.and_then(instant),
        },
        feed: Feed {
            news: topic.news(),
            outages: 0,
            place: Place::Outside(request.since),
            ahead: VecDeque::new(),
            pause: None,
            hub,
            topic,
        },
        is_too_slow: false,
        _seat: seat,
    };
    stream::unfold(viewer, |mut viewer| async move {
        let next = viewer.next().await;
        Some((next, viewer))
    })
}

struct Viewer {
    feed: Feed,
    end: End,
    is_too_slow: bool,
    _seat: Seat,
}

impl Viewer {
    async fn next(&mut self) -> Result<Bytes, Ended> {
        if self.is_too_slow {
            sleep(LAST_WORD).await;
            return Err(Ended::TooSlow);
        }
        let next = tokio::select! {
            biased;
            ended = self.end.reached() => return Err(ended),
            next = self.feed.next() => next,
        };
        Ok(next.unwrap_or_else(|TooSlow| {
            self.is_too_slow = true;
            trouble("Too slow: entries were left out. Resume after the last id.")
        }))
    }
}

/// What breaks a stream off from outside.
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

/// A time beyond what the clock holds never comes.
fn instant(time: SystemTime) -> Option<Instant> {
    let left = time.duration_since(SystemTime::now()).unwrap_or_default();
    Instant::now().checked_add(left)
}

/// Where a viewer is.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// Not in the log yet.
    Outside(Since),
    /// Behind this entry, among those that only Valkey holds.
    History(EntryId),
    /// Behind this entry, among those of the ring.
    Ring(EntryId),
}

/// The entries came faster than they were taken.
struct TooSlow;

struct Feed {
    hub: Arc<Hub>,
    topic: Arc<Topic>,
    news: watch::Receiver<News>,
    outages: u64,
    place: Place,
    ahead: VecDeque<Bytes>,
    pause: Option<Duration>,
}

impl Feed {
    /// The next event: an entry, trouble, or a sign of life.
    async fn next(&mut self) -> Result<Bytes, TooSlow> {
        loop {
            if let Some(event) = self.ahead.pop_front() {
                return Ok(event);
            }
            if let Some(pause) = self.pause.take() {
                sleep(pause).await;
            }
            let step = match self.place {
                Place::Outside(since) => self.enter(since).await,
                Place::History(after) => self.read_history(after).await,
                Place::Ring(after) => {
                    if let Some(event) = self.read_ring(after).await? {
                        return Ok(event);
                    }
                    Ok(())
                }
            };
            if let Err(error) = step {
                tracing::debug!(%error, "a live log cannot be read");
                self.pause = Some(RETRY);
                return Ok(away());
            }
        }
    }

    /// Finds out where the log ends, for itself and for the reader.
    async fn enter(&mut self, since: Since) -> Result<(), Trouble> {
        let (tail, floor) = loop {
            if let Some(ends) = self.topic.tail().zip(self.topic.floor()) {
                break ends;
            }
            self.topic
                .begin(self.hub.history.last(&self.topic.key).await?);
            self.hub.wake.notify_one();
        };
        self.outages = self.news.borrow_and_update().outages;
        self.place = match since {
            Since::Now => Place::Ring(tail),
            // The ring may hold what the stream does not any more: only who was there may go
            // on from it.
            Since::After(id) if id > EntryId::ZERO && id >= floor => Place::Ring(id),
            Since::After(id) => Place::History(id),
        };
        Ok(())
    }

    async fn read_history(&mut self, after: EntryId) -> Result<(), Trouble> {
        let Some(floor) = self.topic.floor() else {
            self.place = Place::Outside(Since::After(after));
            return Ok(());
        };
        let page = self.hub.history.page(&self.topic.key, after).await?;
        let is_last = page.len() < PAGE;
        let mut reached = self.put_ahead(page).unwrap_or(after);
        if is_last {
            // Up to the floor there was nothing else when this was read.
            reached = reached.max(floor);
        }
        self.place = match self.topic.after(reached) {
            Ahead::Frames(_) => Place::Ring(reached),
            Ahead::Gap => Place::History(reached),
            Ahead::Unknown => Place::Outside(Since::After(reached)),
        };
        Ok(())
    }

    /// Takes what the ring holds, or waits for news: `None` where there is something ahead now.
    async fn read_ring(&mut self, after: EntryId) -> Result<Option<Bytes>, TooSlow> {
        let outages = self.news.borrow_and_update().outages;
        if outages != self.outages {
            self.outages = outages;
            return Ok(Some(away()));
        }
        match self.topic.after(after) {
            Ahead::Gap => return Err(TooSlow),
            Ahead::Unknown => {
                self.place = Place::Outside(Since::After(after));
                return Ok(None);
            }
            Ahead::Frames(frames) => {
                if let Some(reached) = self.put_ahead(frames) {
                    self.place = Place::Ring(reached);
                    return Ok(None);
                }
            }
        }
        match timeout(KEEP_ALIVE, self.news.changed()).await {
            Ok(_) => Ok(None),
            Err(_) => Ok(Some(Bytes::from_static(b": keep-alive\n\n"))),
        }
    }

    /// Returns the last of the entries.
    fn put_ahead(&mut self, frames: Vec<Frame>) -> Option<EntryId> {
        let last = frames.last().map(|frame| frame.id);
        self.ahead
            .extend(frames.into_iter().map(|frame| frame.event));
        last
    }
}

fn away() -> Bytes {
    trouble("The log cannot be read just now; trying again.")
}
