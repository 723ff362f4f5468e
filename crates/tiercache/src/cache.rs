//! The cache: its background tasks, and what its namespaces share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::connection::Connection;
use crate::connection::breaker::CircuitBreaker;
use crate::connection::reconnect;
use crate::connection::tracker::Tracker;
use crate::local::coherence::Coherence;
use crate::local::store::Store;
use crate::local::versions::KeyVersions;
use crate::namespace::{Namespace, NamespaceConfig};
use crate::protocol::commands::LEASE_TTL;
use crate::protocol::marker::Stored;
use crate::settings::{Clients, ConfigError, OverlappingPrefix, Settings};
use crate::stats::{CacheStats, Counters, SharedLevel, Tracking};
use crate::sync::{Mutex, lock};
use crate::write::pending::PendingInvalidations;

/// A two-level cache. Cheap to clone; its namespaces keep it alive.
#[derive(Clone)]
pub struct Cache(Arc<Shared>);

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
    longest_ttl_secs: AtomicU64,
    tasks: Vec<AbortHandle>,
}

/// The namespaces in use.
#[derive(Default)]
struct Registered {
    next_id: u32,
    /// A dropped namespace's counters are dropped with it.
    counters: Vec<(&'static str, Weak<Counters>)>,
}

impl Cache {
    /// Creates a cache and starts its background tasks on the current Tokio runtime. Does not
    /// wait for Valkey, which may become available later.
    ///
    /// # Errors
    /// [`ConfigError::Url`] if the URL in the settings is invalid, and [`ConfigError::NoRuntime`]
    /// outside a Tokio runtime.
    pub fn new(settings: Settings) -> Result<Self, ConfigError> {
        let runtime = Handle::try_current().map_err(|_| ConfigError::NoRuntime)?;
        let pending = Arc::new(PendingInvalidations::default());
        let coherence = Arc::new(Coherence::new());
        let mut tasks = Vec::new();
        let mut breaker = None;
        if let Some(url) = settings.url.as_deref() {
            let clients = Clients::new(url)?;
            let circuit = Arc::new(CircuitBreaker::new());
            breaker = Some(Arc::clone(&circuit));
            let reconnect = reconnect::Loop {
                client: clients.commands,
                timeouts: reconnect::Timeouts::from(&settings),
                breaker: circuit,
                pending: Arc::clone(&pending),
                coherence: Arc::clone(&coherence),
            };
            tasks.push(runtime.spawn(reconnect.run()).abort_handle());
            if settings.local.is_some() {
                let tracker = Tracker {
                    client: clients.tracking,
                    coherence: Arc::clone(&coherence),
                    pending: Arc::clone(&pending),
                    connect_timeout: settings.connect_timeout,
                    write_timeout: settings.write_timeout,
                    heartbeat: settings.heartbeat,
                };
                tasks.push(runtime.spawn(tracker.run()).abort_handle());
            }
        }
        let local = settings.local.as_ref();
        Ok(Self(Arc::new(Shared {
            breaker,
            pending,
            write_versions: KeyVersions::new(),
            local: local.map(|local| Store::new(local.max_bytes)),
            coherence,
            namespaces: Mutex::default(),
            longest_ttl_secs: AtomicU64::new(0),
            tasks,
            settings,
        })))
    }

    /// Creates a namespace. Concurrent reads are coalesced within a namespace, so create one per
    /// prefix. The prefix is tracked if the namespace is shared and kept locally.
    ///
    /// Create namespaces at startup: the local cache is bypassed until a new prefix is tracked.
    ///
    /// # Errors
    /// [`OverlappingPrefix`] if it and another namespace are tracked and one's prefix is a
    /// prefix of the other's.
    pub fn namespace<V, E>(
        &self,
        config: NamespaceConfig<V, E>,
    ) -> Result<Namespace<V, E>, OverlappingPrefix> {
        if config.is_shared && config.local.is_some() {
            let (namespace, prefix) = (config.name, config.prefix);
            let added = self.0.coherence.add_prefix(prefix);
            added.map_err(|other| OverlappingPrefix {
                namespace,
                prefix,
                other,
            })?;
        }
        let counters = Arc::new(Counters::default());
        self.0
            .longest_ttl_secs
            .fetch_max(config.ttl.as_secs(), Ordering::Relaxed);
        let mut namespaces = lock(&self.0.namespaces);
        let id = namespaces.next_id;
        namespaces.next_id += 1;
        namespaces
            .counters
            .retain(|(_, counters)| counters.strong_count() > 0);
        namespaces
            .counters
            .push((config.name, Arc::downgrade(&counters)));
        Ok(Namespace::new(config, id, Arc::clone(&self.0), counters))
    }

    /// Reads a key outside the namespaces from the shared level. `None` if the key is absent,
    /// holds a marker or another type than string, has a pending invalidation, or if Valkey is
    /// unavailable.
    pub async fn peek(&self, key: &str) -> Option<Bytes> {
        if self.0.pending.contains(key) {
            return None;
        }
        let connection = self.0.connection()?;
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
                .counters
                .iter()
                .filter_map(|(name, counters)| Some(counters.upgrade()?.snapshot(name)))
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
        let ttl = Duration::from_secs(self.longest_ttl_secs.load(Ordering::Relaxed));
        ttl + LEASE_TTL
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}
