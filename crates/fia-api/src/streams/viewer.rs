//! A viewer of a log: the stream of events of one response.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::streams::cursor::{Cursor, TooSlow};
use crate::streams::entry::error_event;
use crate::streams::permits::Permit;
use crate::streams::topic::{Topic, Viewing};
use crate::streams::{Hub, Request};

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
        _viewing: Viewing::begin(Arc::clone(&topic)),
        cursor: Cursor::new(hub, topic, request.since),
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
    _viewing: Viewing,
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
