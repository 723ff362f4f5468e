//! A cache-aside cache over Valkey that leaves no stale value behind a write.
//!
//! Several replicas of a service, and other programs with the same keys, share one Valkey in
//! front of one database. A read takes the value from there or else loads and stores it; a
//! write changes the database and invalidates. Done plainly, that loses races: a reader stores
//! what it had read before the write, after the write's invalidation, and there it stays. Here
//! it cannot:
//!
//! ```text
//!  read                                      write
//!   │ wait for the key's next flight          │ BEGIN; UPDATE …   (takes the row's lock)
//!   │ GET ──▶ payload: done                   │ SET key fence     (nobody leases or fills)
//!   │ GETLEASE ──▶ someone's lease: wait      │ COMMIT
//!   │          ──▶ fence: load, do not fill   │ FIN: fence → tombstone
//!   │ load                                    ▼ return: no older value is served any more
//!   │ FILL, if the lease still stands
//!   ▼
//! ```
//!
//! Modules, in reading order:
//! * `marker`: what a key holds while it holds no payload: lease, fence, tombstone;
//! * `commands`: the commands of the protocol, and their scripts in `lua/`;
//! * `link`: connection, time limits, circuit breaker, reconnection;
//! * `debts`: what could not be sent and must be, once Valkey is back;
//! * `epochs`: how often each key was written from here;
//! * `flight`: who travels together, and who must not;
//! * `class`, `round` and `outcome`: reading; `write`: writing;
//! * `stats`: numbers; `sync`: locks and atomics that can be tested.

mod class;
mod commands;
mod debts;
mod epochs;
mod flight;
mod link;
mod marker;
mod outcome;
mod round;
mod stats;
mod sync;
mod write;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use redis::io::tcp::TcpSettings;
use redis::{IntoConnectionInfo as _, RedisError};
use tokio::task::AbortHandle;

pub use class::{Class, Spec};
pub use outcome::{Failure, Found, Source};
pub use stats::{ClassStats, SharedLevel, Snapshot};
pub use write::Fence;

use crate::debts::Debts;
use crate::epochs::Epochs;
use crate::link::{Limits, Link, Session};
use crate::marker::Stored;
use crate::stats::Counters;

/// How the cache reaches its shared level, and how long it waits for it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `redis://[user:password@]host[:port][/db]` of the Valkey; `None` for no shared level.
    pub url: Option<String>,
    /// The limit of each command of a read: 50 ms.
    pub read_timeout: Duration,
    /// The limit of each command of a write, that is of its fence and of its invalidation:
    /// 100 ms. The fence is raised while a row is locked.
    pub write_timeout: Duration,
    /// The limit of one attempt to connect: 500 ms.
    pub connect_timeout: Duration,
    /// How often an idle connection is asked for a sign of life: every 500 ms.
    pub heartbeat: Duration,
    /// How long a reader waits for the value that somebody else is loading: 200 ms. With one
    /// unanswered command that makes 250.
    pub lease_wait: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            url: None,
            read_timeout: Duration::from_millis(50),
            write_timeout: Duration::from_millis(100),
            connect_timeout: Duration::from_millis(500),
            heartbeat: Duration::from_millis(500),
            lease_wait: Duration::from_millis(200),
        }
    }
}

/// The URL of the shared level cannot be used. Says why, without the URL: it may hold a
/// password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a usable Valkey URL: {0}")]
pub struct BadUrl(String);

/// The cache. Cheap to clone; classes keep it alive, too.
#[derive(Clone)]
pub struct Cache(Arc<Shared>);

/// What all classes share.
pub(crate) struct Shared {
    settings: Settings,
    link: Option<Arc<Link>>,
    debts: Arc<Debts>,
    epochs: Epochs,
    classes: Mutex<Vec<(&'static str, Arc<Counters>)>>,
    longest_ttl_secs: AtomicU64,
    mender: Option<AbortHandle>,
}

impl Cache {
    /// Makes a cache and starts its background task, on the current tokio runtime. Does not
    /// wait for Valkey, which may as well come later.
    ///
    /// # Errors
    /// [`BadUrl`] if the URL in the settings cannot be used.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(settings: Settings) -> Result<Self, BadUrl> {
        let debts = Arc::new(Debts::default());
        let link = match settings.url.as_deref() {
            None => None,
            Some(url) => Some(Arc::new(link(url, &settings)?)),
        };
        let mender = link.clone().map(|link| {
            let debts = Arc::clone(&debts);
            tokio::spawn(async move { link.mend(&debts).await }).abort_handle()
        });
        Ok(Self(Arc::new(Shared {
            settings,
            link,
            debts,
            epochs: Epochs::new(),
            classes: Mutex::default(),
            longest_ttl_secs: AtomicU64::new(0),
            mender,
        })))
    }

    /// Makes a class of keys. One class for one prefix: flights are shared within a class only.
    pub fn class<V, E>(&self, spec: Spec<V, E>) -> Class<V, E> {
        let counters = Arc::new(Counters::default());
        self.0
            .longest_ttl_secs
            .fetch_max(spec.ttl.as_secs(), Ordering::Relaxed);
        let mut classes = self
            .0
            .classes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        classes.push((spec.name, Arc::clone(&counters)));
        Class::new(spec, Arc::clone(&self.0), counters)
    }

    /// What the shared level holds under a key outside the classes, as it stands. `None` if it
    /// holds nothing or only a marker, if it is of another type than string, if it was to be
    /// invalidated and that is still owed, and if Valkey does not answer in time.
    pub async fn peek(&self, key: &str) -> Option<Bytes> {
        if self.0.debts.owes(key) {
            return None;
        }
        match self
            .0
            .session()?
            .get(key, self.0.settings.read_timeout)
            .await
        {
            Ok(Stored::Payload(payload)) => Some(payload),
            Ok(_) => None,
            Err(trouble) => {
                tracing::debug!(key, ?trouble, "cannot be read");
                None
            }
        }
    }

    /// Whether the shared level is in use at this moment.
    pub fn is_shared_level_up(&self) -> bool {
        self.0.session().is_some()
    }

    /// Waits until the shared level is in use, or until it is not. Returns at once, whatever
    /// is asked for, if there is none by configuration.
    pub async fn until_shared_level(&self, up: bool) {
        if let Some(link) = &self.0.link {
            link.until(up).await;
        }
    }

    /// Numbers about what the cache has done so far.
    pub fn stats(&self) -> Snapshot {
        let shared_level = match &self.0.link {
            None => SharedLevel::Off,
            Some(_) if self.is_shared_level_up() => SharedLevel::Up,
            Some(_) => SharedLevel::Down,
        };
        let classes = self
            .0
            .classes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Snapshot {
            shared_level,
            breaker_openings: self.0.link.as_ref().map_or(0, |link| link.openings()),
            owed_invalidations: self.0.debts.count(),
            classes: classes
                .iter()
                .map(|(name, counters)| counters.snapshot(name))
                .collect(),
        }
    }
}

fn link(url: &str, settings: &Settings) -> Result<Link, BadUrl> {
    let bad = |error: RedisError| BadUrl(error.category().to_owned());
    // Commands share a connection: none may wait for the acknowledgement of the one before it.
    let tcp = TcpSettings::default().set_nodelay(true);
    let address = url.into_connection_info().map_err(bad)?;
    let client = redis::Client::open(address.set_tcp_settings(tcp)).map_err(bad)?;
    Ok(Link::new(
        client,
        Limits {
            connect: settings.connect_timeout,
            read: settings.read_timeout,
            write: settings.write_timeout,
            heartbeat: settings.heartbeat,
        },
    ))
}

impl Shared {
    pub(crate) fn has_shared_level(&self) -> bool {
        self.link.is_some()
    }

    pub(crate) fn session(&self) -> Option<Arc<Session>> {
        self.link.as_ref()?.session()
    }

    /// How long anything in the shared level may live that was loaded before now.
    pub(crate) fn longest_life(&self) -> Duration {
        let ttl = Duration::from_secs(self.longest_ttl_secs.load(Ordering::Relaxed));
        ttl + commands::LEASE_LIFE
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(mender) = &self.mender {
            mender.abort();
        }
    }
}
