//! Settings of a cache, and the errors of invalid ones.

use std::time::Duration;

use redis::io::tcp::TcpSettings;
use redis::{Client, ConnectionInfo, IntoConnectionInfo as _, ProtocolVersion, RedisError};

use crate::event::Events;
use crate::observer::Observed;

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
            events: Events::default(),
            observer: Observed::default(),
        }
    }
}

/// The URL of the shared level is invalid. The text gives the reason without the URL, which may
/// contain a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid Valkey URL: {0}")]
pub struct InvalidUrl(String);

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

/// The clients for the two connections to one server.
pub(crate) struct Clients {
    /// For commands.
    pub(crate) commands: Client,
    /// For client tracking. It uses RESP3: on RESP2 the server accepts the subscription but
    /// sends no invalidations.
    pub(crate) tracking: Client,
}

impl Clients {
    pub(crate) fn new(url: &str) -> Result<Self, InvalidUrl> {
        // Commands are pipelined on one connection: none may wait for the ACK of another.
        let tcp = TcpSettings::default().set_nodelay(true);
        let address: ConnectionInfo = url
            .into_connection_info()
            .map_err(invalid)?
            .set_tcp_settings(tcp);
        let login = address.redis_settings().clone();
        let resp3 = login.set_protocol(ProtocolVersion::RESP3);
        Ok(Self {
            commands: Client::open(address.clone()).map_err(invalid)?,
            tracking: Client::open(address.set_redis_settings(resp3)).map_err(invalid)?,
        })
    }
}

fn invalid(error: RedisError) -> InvalidUrl {
    // Only the detail may quote the URL.
    InvalidUrl(match error.detail() {
        None => error.to_string(),
        Some(_) => error.category().to_owned(),
    })
}
