//! Settings of a cache, and the errors of invalid ones.

use std::time::Duration;

use crate::event::Events;
use crate::observer::Observed;
use crate::server::InvalidUrl;

/// The connection to the shared level, its timeouts, and the limits. See
/// [`CacheBuilder`](crate::CacheBuilder) for each.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) url: Option<String>,
    pub(crate) read_timeout: Duration,
    pub(crate) write_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) heartbeat: Duration,
    pub(crate) lease_wait: Duration,
    pub(crate) lease: Duration,
    pub(crate) fence: Duration,
    pub(crate) memory: Option<u64>,
    pub(crate) max_payload: usize,
    /// The number of replicas that must have a fence.
    pub(crate) wait_replicas: u32,
    /// How long invalidations are kept to be repeated; `None` for the default of the set-up.
    pub(crate) replication_lag: Option<Duration>,
    pub(crate) events: Events,
    /// Observes commands and tasks.
    pub(crate) observer: Observed,
}

impl Settings {
    pub(crate) fn new(url: Option<String>) -> Self {
        Self {
            url,
            read_timeout: Duration::from_millis(50),
            write_timeout: Duration::from_millis(100),
            connect_timeout: Duration::from_millis(500),
            heartbeat: Duration::from_millis(500),
            lease_wait: Duration::from_millis(200),
            lease: Duration::from_secs(5),
            fence: Duration::from_secs(10),
            memory: None,
            max_payload: 8 << 20,
            wait_replicas: 0,
            replication_lag: None,
            events: Events::default(),
            observer: Observed::default(),
        }
    }
}

/// The prefixes of two tracked namespaces overlap: one is a prefix of the other. Valkey refuses
/// to track both on one connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key prefix {prefix:?} of namespace {namespace:?} overlaps with {other:?}")]
pub struct OverlappingPrefix {
    pub(crate) namespace: String,
    pub(crate) prefix: String,
    pub(crate) other: String,
}

/// An invalid configuration of a cache or of a namespace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The URL of the shared level is invalid.
    #[error(transparent)]
    Url(#[from] InvalidUrl),
    /// The prefixes of two tracked namespaces overlap.
    #[error(transparent)]
    Prefix(#[from] OverlappingPrefix),
    /// A setting of the cache is invalid.
    #[error("cache setting {name}: {reason}")]
    Setting {
        /// The name of the builder's method.
        name: &'static str,
        /// The reason.
        reason: &'static str,
    },
    /// A setting of a namespace is invalid.
    #[error("namespace {namespace:?}, setting {name}: {reason}")]
    Namespace {
        /// The name of the namespace.
        namespace: String,
        /// The name of the builder's method.
        name: &'static str,
        /// The reason.
        reason: &'static str,
    },
    /// The cache was created outside a Tokio runtime, which its background tasks need.
    #[error("a cache must be created within a Tokio runtime")]
    NoRuntime,
}
