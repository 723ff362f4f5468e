//! The builder of a cache.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::cache::Cache;
use crate::event::{Event, Events};
use crate::observer::{Observed, Observer};
use crate::settings::{ConfigError, Settings};
use crate::shared::Shared;

/// The shortest timeout, interval or TTL that makes sense.
const SHORTEST: Duration = Duration::from_millis(1);

/// Builds a [`Cache`]. Its `Debug` output does not contain the URL, which may have a password.
///
/// ```no_run
/// # async fn example() -> Result<(), tiercache::ConfigError> {
/// use std::time::Duration;
///
/// let cache = tiercache::Cache::builder("redis://app:secret@valkey:6379/2")
///     .memory(64 << 20)
///     .read_timeout(Duration::from_millis(30))
///     .on_event(|event| tracing::info!(?event, "cache"))
///     .connect()?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use = "a builder does nothing until `connect`"]
pub struct CacheBuilder(Settings);

macro_rules! durations {
    ($($(#[$doc:meta])+ $name:ident),+ $(,)?) => {
        impl CacheBuilder {
            $($(#[$doc])+ pub fn $name(mut self, $name: Duration) -> Self {
                self.0.$name = $name;
                self
            })+

            fn durations(&self) -> impl Iterator<Item = (&'static str, Duration)> {
                [$((stringify!($name), self.0.$name)),+].into_iter()
            }
        }
    };
}

durations! {
    /// Sets the timeout of each command of a read; 50 ms by default.
    read_timeout,
    /// Sets the timeout of each command of a write, that is of raising its fences and of its
    /// invalidations; 100 ms by default. The fences are raised while row locks are held.
    write_timeout,
    /// Sets the timeout of a connection attempt; 500 ms by default.
    connect_timeout,
    /// Sets the interval between heartbeats (PING) on an idle connection; 500 ms by default.
    heartbeat,
    /// Sets the longest wait for a value that another process is loading; 200 ms by default. A
    /// read is delayed by at most this and one command that times out.
    lease_wait,
    /// Sets the TTL of a lease, after which a crashed loader is replaced; 5 s by default. A
    /// slower load stores nothing.
    lease,
    /// Sets the TTL of a fence, after which a crashed writer is ignored; 10 s by default. A
    /// COMMIT must not take longer.
    fence,
}

impl Cache {
    /// A builder of a cache with a shared level at this Valkey URL; see
    /// [`Server`](crate::Server) for its forms.
    pub fn builder(url: impl Into<String>) -> CacheBuilder {
        CacheBuilder::new(Some(url.into()))
    }

    /// A builder of a cache without a shared level. Reads of its namespaces are coalesced; only
    /// [unshared](crate::NamespaceBuilder::unshared) ones keep values.
    pub fn local_builder() -> CacheBuilder {
        CacheBuilder::new(None)
    }
}

impl CacheBuilder {
    fn new(url: Option<String>) -> Self {
        Self(Settings::new(url))
    }

    /// Sets the most memory, in bytes, that the local cache may take; by default there is none.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.0.memory = Some(bytes);
        self
    }

    /// Sets the largest payload that is cached, in bytes; 8 MiB by default. A namespace may have
    /// a limit of its own.
    pub fn max_payload(mut self, bytes: usize) -> Self {
        self.0.max_payload = bytes;
        self
    }

    /// Sets the number of replicas that must have a fence before COMMIT, for at most 50 ms (`WAIT`); 0
    /// by default. With one, a failover to a replica loses only fences that were not waited for in
    /// time, which [`NamespaceStats::fences_unreplicated`](crate::NamespaceStats) counts.
    pub fn wait_replicas(mut self, replicas: u32) -> Self {
        self.0.wait_replicas = replicas;
        self
    }

    /// Sets the longest replication lag of a promoted replica that writes survive; 10 s by default, and
    /// 20 s with a cluster, whose nodes accept writes for a while after they were cut off. Each
    /// invalidation is kept as long, to be repeated after a failover.
    pub fn replication_lag(mut self, lag: Duration) -> Self {
        self.0.replication_lag = Some(lag);
        self
    }

    /// Sets a hook that is called for each [`Event`].
    pub fn on_event(mut self, hook: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.0.events = Events(Some(Arc::new(hook)));
        self
    }

    /// Sets an observer of commands and tasks, for example to trace them.
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.0.observer = Observed(Some(Arc::new(observer)));
        self
    }

    /// Creates the cache and starts its background tasks on the current Tokio runtime. Does not
    /// wait for Valkey, which may become available later.
    ///
    /// # Errors
    /// [`ConfigError`] names the setting that is invalid. [`ConfigError::NoRuntime`] outside a
    /// Tokio runtime.
    pub fn connect(self) -> Result<Cache, ConfigError> {
        for (name, duration) in self.durations() {
            if duration < SHORTEST {
                let reason = "must be at least 1 ms";
                return Err(ConfigError::Setting { name, reason });
            }
        }
        if self.0.memory == Some(0) {
            let (name, reason) = ("memory", "must not be 0: leave it out for no local cache");
            return Err(ConfigError::Setting { name, reason });
        }
        Ok(Cache(Shared::start(self.0)?))
    }
}

impl fmt::Debug for CacheBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("CacheBuilder");
        debug.field("is_shared", &self.0.url.is_some());
        debug.field("memory", &self.0.memory);
        debug.field("max_payload", &self.0.max_payload);
        debug.field("wait_replicas", &self.0.wait_replicas);
        debug.field("replication_lag", &self.0.replication_lag);
        for (name, duration) in self.durations() {
            debug.field(name, &duration);
        }
        debug.finish_non_exhaustive()
    }
}
