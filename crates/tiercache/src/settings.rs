//! Settings of a cache, and the errors of invalid ones.

use std::time::Duration;

use redis::io::tcp::TcpSettings;
use redis::{Client, ConnectionInfo, IntoConnectionInfo as _, ProtocolVersion, RedisError};

/// The connection to the shared level, its timeouts, and the size of the local cache.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The Valkey URL, `redis://[user:password@]host[:port][/db]`; `None` for no shared level.
    pub url: Option<String>,
    /// The timeout of each command of a read: 50 ms.
    pub read_timeout: Duration,
    /// The timeout of each command of a write, that is of raising its fence and of its
    /// invalidation: 100 ms. The fence is raised while a row lock is held.
    pub write_timeout: Duration,
    /// The timeout of a connection attempt: 500 ms.
    pub connect_timeout: Duration,
    /// The interval between heartbeats (PING) on an idle connection: 500 ms.
    pub heartbeat: Duration,
    /// The longest wait for a value that another process is loading: 200 ms. Together with one
    /// command that times out, a read is delayed by 250 ms at most.
    pub lease_wait: Duration,
    /// The local cache; `None` for none.
    pub local: Option<LocalSettings>,
}

/// The local cache, in the memory of this process.
#[derive(Clone, Debug)]
pub struct LocalSettings {
    /// The most memory its entries may take, in bytes.
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
    pub(crate) namespace: &'static str,
    pub(crate) prefix: &'static str,
    pub(crate) other: &'static str,
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
    InvalidUrl(error.category().to_owned())
}
