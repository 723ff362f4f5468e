//! Live logs: what live-data processors write into streams in Valkey, for everybody who looks
//! on.
//!
//! One reader follows all streams that somebody looks at, with one blocking command at a time,
//! on a connection of its own. What it reads goes into the `topic`'s ring, from where each
//! `viewer` takes it at its own pace: a viewer costs a place in the ring, and one that falls
//! out of the ring is dropped. What was written before a viewer came it reads itself, page by
//! page, until it has caught up with the ring.

mod entry;
mod reader;
mod seats;
mod topic;
mod valkey;
mod viewer;

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::Stream;
use parking_lot::Mutex;
use secrecy::ExposeSecret as _;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use crate::config;

pub use entry::{EntryId, Since};
pub use viewer::Ended;

use seats::Seats;
use topic::Topic;
use valkey::Valkey;

/// Why nobody can look on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// There is no Valkey in the settings.
    #[error("no Valkey for the logs")]
    NoValkey,
    /// So many look on that no further one may.
    #[error("too many look on at live logs")]
    Full,
    /// This user looks on in so many places that no further one may be.
    #[error("one user looks on at too many live logs")]
    TooMany,
}

/// Who wants to look on, at what.
#[derive(Debug)]
pub struct Request {
    /// The instrument, as the processor's stream is named.
    pub instrument: String,
    /// What is wanted of the stream.
    pub since: Since,
    /// The user, where there is a limit for them.
    pub user_number: Option<i32>,
    /// When their token ends.
    pub until: Option<SystemTime>,
}

/// The live logs of all instruments. Dropped, it reads no more.
pub struct LogStreams {
    hub: Option<Arc<Hub>>,
    reader: Option<AbortHandle>,
}

/// What the reader and the viewers share.
struct Hub {
    /// For reading what was written before.
    history: Valkey,
    /// For following, and nothing else: its commands block.
    tail: Valkey,
    topics: Mutex<HashMap<String, Weak<Topic>>>,
    /// Tells the reader that there is something to follow.
    wake: Notify,
    seats: Seats,
    ending: watch::Sender<bool>,
}

impl LogStreams {
    /// Prepares the reader; Valkey need not be there. To be called within a Tokio runtime.
    ///
    /// # Errors
    /// When the address of Valkey cannot be parsed.
    pub fn new(config: &config::Config) -> Result<Self, redis::RedisError> {
        let Some(url) = &config.cache.valkey_url else {
            return Ok(Self {
                hub: None,
                reader: None,
            });
        };
        let hub = Arc::new(Hub {
            history: Valkey::new(url.expose_secret())?,
            tail: Valkey::new(url.expose_secret())?,
            topics: Mutex::default(),
            wake: Notify::new(),
            seats: Seats::new(&config.log_viewers),
            ending: watch::Sender::new(false),
        });
        let reader = tokio::spawn(reader::follow(Arc::clone(&hub))).abort_handle();
        Ok(Self {
            hub: Some(hub),
            reader: Some(reader),
        })
    }

    /// Lets somebody look on: server-sent events without an end. The stream fails where it
    /// must not go on, so that clients come again: see [`Ended`].
    ///
    /// # Errors
    /// [`StreamError`].
    pub fn view(
        &self,
        request: Request,
    ) -> Result<impl Stream<Item = Result<Bytes, Ended>> + Send + use<>, StreamError> {
        let hub = self.hub.as_ref().ok_or(StreamError::NoValkey)?;
        let seat = hub.seats.take(request.user_number)?;
        let topic = hub.topic(&request.instrument);
        Ok(viewer::view(Arc::clone(hub), topic, seat, &request))
    }

    /// How many look on now.
    #[must_use]
    pub fn viewers(&self) -> usize {
        self.hub.as_ref().map_or(0, |hub| hub.seats.count())
    }

    /// Breaks off all that are looking on, now and from now on.
    pub fn end(&self) {
        if let Some(hub) = &self.hub {
            hub.ending.send_replace(true);
        }
    }
}

impl Drop for LogStreams {
    fn drop(&mut self) {
        if let Some(reader) = &self.reader {
            reader.abort();
        }
    }
}

impl Hub {
    /// What is shared by all who look at an instrument's log.
    fn topic(&self, instrument: &str) -> Arc<Topic> {
        let key = format!("{instrument}_live_data_processor_logs");
        let mut topics = self.topics.lock();
        if let Some(topic) = topics.get(&key).and_then(Weak::upgrade) {
            return topic;
        }
        let topic = Arc::new(Topic::new(key.clone()));
        topics.insert(key, Arc::downgrade(&topic));
        topic
    }

    /// The topics that somebody looks at.
    fn topics(&self) -> Vec<Arc<Topic>> {
        let mut topics = self.topics.lock();
        topics.retain(|_, topic| topic.strong_count() > 0);
        topics.values().filter_map(Weak::upgrade).collect()
    }
}
