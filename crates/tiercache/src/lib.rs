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
//! In front of that, each process remembers what the shared level had, for as long as Valkey, over
//! a connection of its own, tells of no change: see `coherence`.
//!
//! Modules, in reading order:
//! * `marker`: what a key holds while it holds no payload: lease, fence, tombstone;
//! * `session`: one connection, time limits;
//! * `commands`: the commands of the protocol, and their scripts in `lua/`;
//! * `link`: circuit breaker, reconnection (`back_off`);
//! * `debts`: what could not be sent and must be, once Valkey is back;
//! * `epochs`: how often something has happened to each key;
//! * `coherence` and `tracker`: what Valkey tells, and when it is believed;
//! * `local` and `recall`: what is remembered, and when it may be used;
//! * `flight`: who travels together, and who must not;
//! * `class`: what entries have in common; `read`, `round`, `outcome`: reading; `write`: writing;
//! * `refresh`: loading anew before the end; `sample`: comparing with the origin;
//! * `stats`: numbers; `sync`: locks and atomics that can be tested.

mod back_off;
mod class;
mod coherence;
mod commands;
mod debts;
mod epochs;
mod flight;
mod link;
mod local;
mod marker;
mod outcome;
mod read;
mod recall;
mod refresh;
mod round;
mod sample;
mod session;
mod stats;
mod sync;
mod tracker;
mod write;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use redis::io::tcp::TcpSettings;
use redis::{ConnectionInfo, IntoConnectionInfo as _, ProtocolVersion, RedisError};
use tokio::task::AbortHandle;
use tokio::time::Instant;

pub use class::{LocalPolicy, Namespace, NamespaceConfig};
pub use outcome::{CachedValue, Failure, Source};
pub use stats::{CacheStats, NamespaceStats, SharedLevel, Tracking};
pub use write::WriteFence;

use crate::coherence::Coherence;
use crate::debts::Debts;
use crate::epochs::Epochs;
use crate::link::{Limits, Link};
use crate::local::Store;
use crate::marker::Stored;
use crate::session::Session;
use crate::stats::Counters;
use crate::tracker::Tracker;

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
    /// What is kept in the memory of this process; `None` for nothing.
    pub local: Option<LocalSettings>,
}

/// What is kept in the memory of this process.
#[derive(Clone, Debug)]
pub struct LocalSettings {
    /// The most that values may take, in bytes.
    pub max_bytes: u64,
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
            local: None,
        }
    }
}

/// The URL of the shared level cannot be used. Says why, without the URL: it may hold a
/// password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a usable Valkey URL: {0}")]
pub struct InvalidUrl(String);

/// The prefix of a namespace overlaps with that of another. Both are shared and kept in this
/// process, so Valkey would have to send the changes of some keys twice, and refuses to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key prefix {prefix:?} of namespace {namespace:?} overlaps with {other:?}")]
pub struct OverlappingPrefix {
    namespace: &'static str,
    prefix: &'static str,
    other: &'static str,
}

/// A cache or a namespace cannot be configured like this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The URL of the shared level is invalid.
    #[error(transparent)]
    Url(#[from] InvalidUrl),
    /// Two namespaces overlap.
    #[error(transparent)]
    Prefix(#[from] OverlappingPrefix),
}

/// The cache. Cheap to clone; classes keep it alive, too.
#[derive(Clone)]
pub struct Cache(Arc<Shared>);

/// What all classes share.
pub(crate) struct Shared {
    settings: Settings,
    link: Option<Arc<Link>>,
    debts: Arc<Debts>,
    /// How often each key was written from here.
    epochs: Epochs,
    local: Option<Store>,
    coherence: Arc<Coherence>,
    classes: Mutex<Vec<(&'static str, Arc<Counters>)>>,
    longest_ttl_secs: AtomicU64,
    tasks: Vec<AbortHandle>,
}

impl Cache {
    /// Makes a cache and starts its background task, on the current tokio runtime. Does not
    /// wait for Valkey, which may as well come later.
    ///
    /// # Errors
    /// [`InvalidUrl`] if the URL in the settings cannot be used.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(settings: Settings) -> Result<Self, InvalidUrl> {
        let debts = Arc::new(Debts::default());
        let coherence = Arc::new(Coherence::new());
        let mut tasks = Vec::new();
        let mut link = None;
        if let Some(url) = settings.url.as_deref() {
            let address = address(url)?;
            let shared = Arc::new(shared_link(address.clone(), &settings)?);
            let (mended, owed) = (Arc::clone(&shared), Arc::clone(&debts));
            let told = Arc::clone(&coherence);
            let mend = async move { mended.mend(&owed, &told).await };
            tasks.push(tokio::spawn(mend).abort_handle());
            link = Some(shared);
            if settings.local.is_some() {
                let tracker = tracker(address, &settings, &coherence, &debts)?;
                tasks.push(tokio::spawn(tracker.run()).abort_handle());
            }
        }
        Ok(Self(Arc::new(Shared {
            link,
            debts,
            epochs: Epochs::new(),
            local: settings
                .local
                .as_ref()
                .map(|local| Store::new(local.max_bytes)),
            coherence,
            classes: Mutex::default(),
            longest_ttl_secs: AtomicU64::new(0),
            tasks,
            settings,
        })))
    }

    /// Creates a namespace. Fetches are coalesced within a namespace only, so create one for a
    /// prefix. If it is shared and kept in this process, the changes of its keys are tracked.
    /// Create namespaces at startup: until a new prefix is tracked, the local cache is bypassed.
    ///
    /// # Errors
    /// [`OverlappingPrefix`] if the prefixes of two tracked namespaces overlap.
    pub fn namespace<V, E>(
        &self,
        spec: NamespaceConfig<V, E>,
    ) -> Result<Namespace<V, E>, OverlappingPrefix> {
        if spec.is_shared && spec.local.is_some() {
            let (namespace, prefix) = (spec.name, spec.prefix);
            self.0
                .coherence
                .add_prefix(prefix)
                .map_err(|other| OverlappingPrefix {
                    namespace,
                    prefix,
                    other,
                })?;
        }
        let counters = Arc::new(Counters::default());
        self.0
            .longest_ttl_secs
            .fetch_max(spec.ttl.as_secs(), Ordering::Relaxed);
        let mut classes = self
            .0
            .classes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let number = u32::try_from(classes.len()).unwrap_or(u32::MAX);
        classes.push((spec.name, Arc::clone(&counters)));
        let shared = Arc::clone(&self.0);
        Ok(Namespace::new(spec, number, shared, counters))
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
    pub async fn wait_for_shared_level(&self, up: bool) {
        if let Some(link) = &self.0.link {
            link.until(up).await;
        }
    }

    /// Waits until changes in the shared level are told, so that what is kept in memory is used.
    /// Returns at once if no namespace needs tracking.
    pub async fn wait_for_tracking(&self) {
        if self.0.is_tracking_needed() {
            self.0.coherence.until_trusted().await;
        }
    }

    /// Numbers about what the cache has done so far.
    pub fn stats(&self) -> CacheStats {
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
        CacheStats {
            shared_level,
            breaker_openings: self.0.link.as_ref().map_or(0, |link| link.openings()),
            pending_invalidations: self.0.debts.count(),
            tracking: self.0.tracking(),
            local_bytes: self.0.local.as_ref().map_or(0, Store::bytes),
            local_entries: self.0.local.as_ref().map_or(0, Store::entries),
            namespaces: classes
                .iter()
                .map(|(name, counters)| counters.snapshot(name))
                .collect(),
        }
    }
}

fn bad(error: RedisError) -> InvalidUrl {
    InvalidUrl(error.category().to_owned())
}

fn address(url: &str) -> Result<ConnectionInfo, InvalidUrl> {
    // Commands share a connection: none may wait for the acknowledgement of the one before it.
    let tcp = TcpSettings::default().set_nodelay(true);
    Ok(url
        .into_connection_info()
        .map_err(bad)?
        .set_tcp_settings(tcp))
}

fn shared_link(address: ConnectionInfo, settings: &Settings) -> Result<Link, InvalidUrl> {
    let client = redis::Client::open(address).map_err(bad)?;
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

fn tracker(
    address: ConnectionInfo,
    settings: &Settings,
    coherence: &Arc<Coherence>,
    debts: &Arc<Debts>,
) -> Result<Tracker, InvalidUrl> {
    let login = address.redis_settings().clone();
    let address = address.set_redis_settings(login.set_protocol(ProtocolVersion::RESP3));
    Ok(Tracker {
        client: redis::Client::open(address).map_err(bad)?,
        coherence: Arc::clone(coherence),
        debts: Arc::clone(debts),
        connect_timeout: settings.connect_timeout,
        write_timeout: settings.write_timeout,
        heartbeat: settings.heartbeat,
    })
}

impl Shared {
    pub(crate) fn has_shared_level(&self) -> bool {
        self.link.is_some()
    }

    pub(crate) fn session(&self) -> Option<Arc<Session>> {
        self.link.as_ref()?.session()
    }

    fn is_tracking_needed(&self) -> bool {
        self.local.is_some() && self.link.is_some() && self.coherence.has_prefixes()
    }

    fn tracking(&self) -> Tracking {
        if !self.is_tracking_needed() {
            return Tracking::Off;
        }
        match self.coherence.age() {
            Some(age) if self.coherence.is_trusted(Instant::now()) => Tracking::Up(age),
            _ => Tracking::Down,
        }
    }

    /// How long anything in the shared level may live that was loaded before now.
    pub(crate) fn longest_life(&self) -> Duration {
        let ttl = Duration::from_secs(self.longest_ttl_secs.load(Ordering::Relaxed));
        ttl + commands::LEASE_LIFE
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}
