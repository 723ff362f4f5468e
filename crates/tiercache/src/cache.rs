//! The cache: its background tasks, and what its namespaces share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::builder::CacheBuilder;
use crate::codec::Codec;
use crate::connection::Connection;
use crate::connection::breaker::CircuitBreaker;
use crate::connection::reconnect;
use crate::connection::tracker::Tracker;
use crate::local::coherence::Coherence;
use crate::local::store::Store;
use crate::local::versions::KeyVersions;
use crate::namespace::{Config, Namespace, NamespaceBuilder};
use crate::protocol::marker::Stored;
use crate::server::Server;
use crate::settings::{ConfigError, OverlappingPrefix, Settings};
use crate::stats::{CacheStats, Counters, SharedLevel, Tracking};
use crate::sync::{Mutex, lock};
use crate::write::pending::PendingInvalidations;

/// A two-level cache. Cheap to clone; its namespaces keep it alive.
#[derive(Clone)]
pub struct Cache(pub(crate) Arc<Shared>);

/// The parts of a cache that its namespaces share.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    breaker: Option<Arc<CircuitBreaker>>,
    pub(crate) pending: Arc<PendingInvalidations>,
    /// Counts the writes of this process for each key.
    pub(crate) write_versions: KeyVersions,
    pub(crate) local: Option<Store>,
    pub(crate) coherence: Arc<Coherence>,
    namespaces: Mutex<Registered>,
    longest_ttl_millis: AtomicU64,
    tasks: Vec<AbortHandle>,
}

/// The namespaces in use.
#[derive(Default)]
struct Registered {
    next_id: u32,
    namespaces: Vec<Registration>,
}

struct Registration {
    name: Arc<str>,
    /// The prefix, if it is tracked.
    tracked: Option<String>,
    /// Dropped with the namespace.
    counters: Weak<Counters>,
}

impl Cache {
    /// A builder of a cache with a shared level at this Valkey URL; see [`Server`]
    /// for its forms.
    pub fn builder(url: impl Into<String>) -> CacheBuilder {
        CacheBuilder::new(Some(url.into()))
    }

    /// A builder of a cache without a shared level. Reads of its namespaces are coalesced; only
    /// [unshared](NamespaceBuilder::unshared) ones keep values.
    pub fn local_builder() -> CacheBuilder {
        CacheBuilder::new(None)
    }

    pub(crate) fn new(settings: Settings) -> Result<Self, ConfigError> {
        let runtime = Handle::try_current().map_err(|_| ConfigError::NoRuntime)?;
        let pending = Arc::new(PendingInvalidations::default());
        let coherence = Arc::new(Coherence::new());
        let mut tasks = Vec::new();
        let mut breaker = None;
        if let Some(url) = settings.url.as_deref() {
            let server = Server::parse(url)?;
            let circuit = Arc::new(CircuitBreaker::new());
            breaker = Some(Arc::clone(&circuit));
            let reconnect = reconnect::Loop {
                server: server.clone(),
                timeouts: reconnect::Timeouts::from(&settings),
                breaker: circuit,
                pending: Arc::clone(&pending),
                coherence: Arc::clone(&coherence),
                events: settings.events.clone(),
            };
            tasks.push(runtime.spawn(reconnect.run()).abort_handle());
            if settings.memory.is_some() {
                let tracker = Tracker {
                    server,
                    coherence: Arc::clone(&coherence),
                    pending: Arc::clone(&pending),
                    connect_timeout: settings.connect_timeout,
                    write_timeout: settings.write_timeout,
                    heartbeat: settings.heartbeat,
                    events: settings.events.clone(),
                };
                tasks.push(runtime.spawn(tracker.run()).abort_handle());
            }
        }
        Ok(Self(Arc::new(Shared {
            breaker,
            pending,
            write_versions: KeyVersions::new(),
            local: settings.memory.map(Store::new),
            coherence,
            namespaces: Mutex::default(),
            longest_ttl_millis: AtomicU64::new(0),
            tasks,
            settings,
        })))
    }

    /// A builder of a namespace: the keys with this prefix, each the prefix followed by the text
    /// of a `K`. A prefix usually ends in a colon. It may be a whole key, for a namespace that is
    /// only used with a `K` of empty text.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::io;
    /// use std::time::Duration;
    /// use tiercache::{Cache, Json};
    ///
    /// let cache = Cache::local_builder().memory(1 << 20).connect()?;
    /// let squares = cache
    ///     .namespace::<u64, u64, io::Error>("app:square:", Json)
    ///     .ttl(Duration::from_secs(60))
    ///     .unshared()
    ///     .build()?;
    /// assert_eq!(squares.get(&12, async || Ok(144)).await?, 144);
    /// # Ok(()) }
    /// ```
    pub fn namespace<K: ?Sized, V, E>(
        &self,
        prefix: impl Into<String>,
        codec: impl Codec<V>,
    ) -> NamespaceBuilder<K, V, E> {
        NamespaceBuilder::new(self, prefix.into(), Box::new(codec))
    }

    pub(crate) fn max_payload(&self) -> usize {
        self.0.settings.max_payload
    }

    pub(crate) fn lease(&self) -> Duration {
        self.0.settings.lease
    }

    pub(crate) fn register<K: ?Sized, V, E>(
        &self,
        config: Config<V, E>,
    ) -> Result<Namespace<K, V, E>, OverlappingPrefix> {
        let counters = Arc::new(Counters::default());
        let mut registered = lock(&self.0.namespaces);
        registered
            .namespaces
            .retain(|namespace| namespace.counters.strong_count() > 0);
        let is_tracked = config.is_shared && config.local.is_some();
        if is_tracked {
            self.track(&registered, &config.prefix)
                .map_err(|other| OverlappingPrefix {
                    namespace: config.name.to_string(),
                    prefix: config.prefix.clone(),
                    other,
                })?;
        }
        let id = registered.next_id;
        registered.next_id += 1;
        registered.namespaces.push(Registration {
            name: Arc::clone(&config.name),
            tracked: is_tracked.then(|| config.prefix.clone()),
            counters: Arc::downgrade(&counters),
        });
        let ttl = u64::try_from(config.ttl.as_millis()).unwrap_or(u64::MAX);
        self.0.longest_ttl_millis.fetch_max(ttl, Ordering::Relaxed);
        Ok(Namespace::new(config, id, Arc::clone(&self.0), counters))
    }

    /// Tracks a prefix. One whose namespace was dropped is still tracked, and may be used again.
    fn track(&self, registered: &Registered, prefix: &str) -> Result<(), String> {
        let mut in_use = registered.namespaces.iter().flat_map(|one| &one.tracked);
        if in_use.any(|other| other == prefix) {
            return Err(prefix.to_owned());
        }
        if self.0.coherence.has_prefix(prefix) {
            return Ok(());
        }
        self.0.coherence.add_prefix(prefix)
    }

    /// Reads a key outside the namespaces from the shared level. `None` if the key is absent,
    /// holds a marker or another type than string, has a pending invalidation, or if Valkey is
    /// unavailable.
    pub async fn peek(&self, key: &str) -> Option<Bytes> {
        if self.0.pending.contains(key) {
            return None;
        }
        let connection = self.0.connection()?;
        let _command = self.0.command("GET");
        match connection.get(key, self.0.settings.read_timeout).await {
            Ok(Stored::Payload(payload)) => Some(payload),
            Ok(_) => None,
            Err(error) => {
                tracing::debug!(key, ?error, "read failed: treated as absent");
                None
            }
        }
    }

    /// Whether the shared level is available now.
    pub fn is_shared_level_up(&self) -> bool {
        self.0.connection().is_some()
    }

    /// Waits until the shared level is available, or until it is unavailable. Returns at once if
    /// there is none by configuration.
    pub async fn wait_for_shared_level(&self, up: bool) {
        if let Some(breaker) = &self.0.breaker {
            breaker.wait_for(up).await;
        }
    }

    /// Waits until client tracking is established, so that the local cache is used. Returns at
    /// once if no namespace is tracked.
    pub async fn wait_for_tracking(&self) {
        if self.0.is_tracked() {
            self.0.coherence.wait_until_live().await;
        }
    }

    /// The counters and gauges, each read separately while the cache is in use.
    pub fn stats(&self) -> CacheStats {
        let shared_level = match &self.0.breaker {
            None => SharedLevel::Off,
            Some(_) if self.is_shared_level_up() => SharedLevel::Up,
            Some(_) => SharedLevel::Down,
        };
        let local = self.0.local.as_ref();
        let openings = |breaker: &Arc<CircuitBreaker>| breaker.openings();
        CacheStats {
            shared_level,
            breaker_openings: self.0.breaker.as_ref().map_or(0, openings),
            pending_invalidations: self.0.pending.count(),
            tracking: self.0.tracking(),
            local_bytes: local.map_or(0, Store::bytes),
            local_entries: local.map_or(0, Store::entries),
            namespaces: lock(&self.0.namespaces)
                .namespaces
                .iter()
                .filter_map(|one| Some(one.counters.upgrade()?.snapshot(Arc::clone(&one.name))))
                .collect(),
        }
    }
}

impl Shared {
    pub(crate) fn has_shared_level(&self) -> bool {
        self.breaker.is_some()
    }

    /// The connection for commands, unless the circuit breaker is open.
    pub(crate) fn connection(&self) -> Option<Arc<Connection>> {
        self.breaker.as_ref()?.connection()
    }

    fn is_tracked(&self) -> bool {
        self.local.is_some() && self.breaker.is_some() && self.coherence.has_prefixes()
    }

    fn tracking(&self) -> Tracking {
        if !self.is_tracked() {
            return Tracking::Off;
        }
        match self.coherence.age() {
            Some(age) if self.coherence.is_live(Instant::now()) => Tracking::Up(age),
            _ => Tracking::Down,
        }
    }

    /// The longest time that a value which was loaded before now may stay in the shared level.
    pub(crate) fn longest_lifetime(&self) -> Duration {
        let ttl = Duration::from_millis(self.longest_ttl_millis.load(Ordering::Relaxed));
        ttl + self.settings.lease
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}
