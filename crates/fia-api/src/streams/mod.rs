//! Live logs: fan-out of the Valkey streams that live-data processors write.
//!
//! One reader follows all streams with viewers, with one blocking command at a time on a
//! connection of its own. It appends entries to the ring buffer of their `topic`, from which each
//! `viewer` reads at its own pace: a viewer costs only its position, and one that falls behind by
//! more entries than a ring holds is dropped. Entries that are not in the ring a viewer reads from
//! Valkey itself, page by page, until it has caught up. A stream that begins again is followed from
//! its new start.

mod connection;
mod cursor;
mod entry;
mod permits;
mod reader;
mod ring;
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
use tiercache::{InvalidUrl, Server};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use crate::config;

pub use entry::{EntryId, Since};
pub use viewer::Ended;

use permits::Permits;
use topic::Topic;
use valkey::Valkey;

/// The end of a stream's key, after the instrument.
const KEY_SUFFIX: &str = "_live_data_processor_logs";

/// A log cannot be streamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// Valkey is not configured.
    #[error("live logs need Valkey, which is not configured")]
    NoValkey,
    /// The limit of viewers is reached.
    #[error("too many viewers of live logs")]
    Full,
    /// The limit of viewers of this user is reached.
    #[error("too many live logs of one user")]
    TooMany,
}

/// A request to stream a log.
#[derive(Debug)]
pub struct Request {
    /// The instrument as it is spelt in the stream's key.
    pub instrument: String,
    /// The start position.
    pub since: Since,
    /// The user, if the limit per user applies.
    pub user_number: Option<i32>,
    /// The expiry of the token.
    pub until: Option<SystemTime>,
}

/// The live logs of all instruments. Dropping it stops the reader.
pub struct LogStreams {
    hub: Option<Arc<Hub>>,
    reader: Option<AbortHandle>,
}

/// State shared by the reader and the viewers.
struct Hub {
    /// The connection for entries older than the rings.
    history: Valkey,
    /// The connection of the reader, whose commands block.
    tail: Valkey,
    topics: Mutex<HashMap<String, Weak<Topic>>>,
    /// Wakes the reader when a topic is started.
    wake: Notify,
    permits: Permits,
    ending: watch::Sender<bool>,
}

impl LogStreams {
    /// Starts the reader; Valkey may be unavailable. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// When the URL of Valkey is invalid.
    pub fn new(config: &config::Config) -> Result<Self, InvalidUrl> {
        let Some(url) = &config.cache.valkey_url else {
            return Ok(Self {
                hub: None,
                reader: None,
            });
        };
        let server = Server::parse(url.expose_secret())?;
        let hub = Arc::new(Hub {
            history: Valkey::new(server.clone()),
            tail: Valkey::new(server),
            topics: Mutex::default(),
            wake: Notify::new(),
            permits: Permits::new(&config.log_viewers),
            ending: watch::Sender::new(false),
        });
        let reader = tokio::spawn(reader::follow(Arc::clone(&hub))).abort_handle();
        Ok(Self {
            hub: Some(hub),
            reader: Some(reader),
        })
    }

    /// Streams a log as server-sent events without an end. To end, the stream fails, so that
    /// clients reconnect: see [`Ended`].
    ///
    /// # Errors
    /// [`StreamError`].
    pub fn view(
        &self,
        request: Request,
    ) -> Result<impl Stream<Item = Result<Bytes, Ended>> + Send + use<>, StreamError> {
        let hub = self.hub.as_ref().ok_or(StreamError::NoValkey)?;
        let permit = hub.permits.acquire(request.user_number)?;
        let topic = hub.topic(&request.instrument);
        Ok(viewer::view(Arc::clone(hub), topic, permit, &request))
    }

    /// The number of viewers.
    #[must_use]
    pub fn viewers(&self) -> usize {
        self.hub.as_ref().map_or(0, |hub| hub.permits.in_use())
    }

    /// The logs that have viewers, by the spelling of their instrument, each with their number.
    #[must_use]
    pub fn viewers_by_instrument(&self) -> Vec<(String, usize)> {
        let topics = self.hub.as_ref().map(|hub| hub.topics());
        let mut logs: Vec<(String, usize)> = topics
            .unwrap_or_default()
            .iter()
            .map(|topic| {
                let instrument = topic.key.strip_suffix(KEY_SUFFIX).unwrap_or(&topic.key);
                (instrument.to_owned(), topic.viewers())
            })
            .filter(|(_, viewers)| *viewers > 0)
            .collect();
        logs.sort();
        logs
    }

    /// The most viewers at a time; 0 without Valkey.
    #[must_use]
    pub fn max_viewers(&self) -> usize {
        self.hub.as_ref().map_or(0, |hub| hub.permits.max())
    }

    /// Aborts all streams, current and future.
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
    /// Returns the topic of an instrument's log, shared by its viewers.
    fn topic(&self, instrument: &str) -> Arc<Topic> {
        let key = format!("{instrument}{KEY_SUFFIX}");
        let mut topics = self.topics.lock();
        if let Some(topic) = topics.get(&key).and_then(Weak::upgrade) {
            return topic;
        }
        let topic = Arc::new(Topic::new(key.clone()));
        topics.insert(key, Arc::downgrade(&topic));
        topic
    }

    /// Returns the topics that have viewers.
    fn topics(&self) -> Vec<Arc<Topic>> {
        let mut topics = self.topics.lock();
        topics.retain(|_, topic| topic.strong_count() > 0);
        topics.values().filter_map(Weak::upgrade).collect()
    }
}
