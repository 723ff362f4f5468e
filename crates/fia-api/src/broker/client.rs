//! The client of RabbitMQ, which reconnects on demand.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use secrecy::ExposeSecret;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::broker::queues::Queues;
use crate::broker::{Backoff, BrokerError, Connection};
use crate::config;
use crate::observe::{Calls, Failure};

/// Timeout for opening a connection to one host.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Backoff after all hosts failed: requests in that time fail at once instead of waiting for a
/// timeout each.
const RECONNECT_BACKOFF: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(1));
/// Heartbeat interval in seconds; the connection is closed after two missed ones.
const HEARTBEAT: u16 = 10;

/// A client of RabbitMQ.
pub struct Broker {
    /// The hosts, never empty.
    addresses: Vec<AMQPUri>,
    queues: Arc<Queues>,
    current: Mutex<Current>,
    calls: Arc<Calls>,
}

#[derive(Default)]
struct Current {
    connection: Option<Arc<Connection>>,
    /// Index of the host that is tried first.
    next: usize,
    failures: u32,
    failed: Option<(Instant, BrokerError)>,
}

impl Broker {
    /// Creates the client without connecting.
    #[must_use]
    pub fn new(config: &config::Queue) -> Self {
        Self {
            addresses: addresses(config),
            queues: Arc::default(),
            current: Mutex::default(),
            calls: Arc::default(),
        }
    }

    /// The publications since the start, and the failed attempts to connect.
    #[must_use]
    pub fn calls(&self) -> &Arc<Calls> {
        &self.calls
    }

    /// Returns the connection, and opens it if there is none. Hosts are tried in turn, from the
    /// one after the last that failed.
    ///
    /// # Errors
    /// [`BrokerError::Unavailable`] within 2 s per host, or at once during the backoff after
    /// another failure.
    pub async fn connection(&self) -> Result<Arc<Connection>, BrokerError> {
        // Held while connecting, so that there is never a second connection.
        let mut current = self.current.lock().await;
        if let Some(connection) = current
            .connection
            .take_if(|connection| !connection.is_open())
        {
            tracing::warn!("RabbitMQ connection lost: reconnecting");
            drop(connection);
        }
        if let Some(connection) = &current.connection {
            return Ok(Arc::clone(connection));
        }
        if let Some((retry_at, error)) = &current.failed
            && Instant::now() < *retry_at
        {
            return Err(error.clone());
        }
        let start = Instant::now();
        match self.connect(&mut current.next).await {
            Ok(connection) => {
                current.failures = 0;
                current.failed = None;
                let connection = current.connection.insert(Arc::new(connection));
                Ok(Arc::clone(connection))
            }
            Err(error) => {
                let elapsed = start.elapsed();
                self.calls
                    .record(elapsed, Some((Failure::Unavailable, &error)));
                current.failures = current.failures.saturating_add(1);
                let retry_at = Instant::now() + RECONNECT_BACKOFF.delay(current.failures);
                current.failed = Some((retry_at, error.clone()));
                Err(error)
            }
        }
    }

    /// The queues to which nothing can be published at present: their failures are backed off.
    #[must_use]
    pub fn backed_off_queues(&self) -> Vec<String> {
        self.queues.backed_off()
    }

    /// Tries each host once. A caller that gives up while a host does not respond has the next
    /// caller begin with the host after it.
    async fn connect(&self, next: &mut usize) -> Result<Connection, BrokerError> {
        let mut failure = BrokerError::Unavailable("no host".to_owned());
        for _ in &self.addresses {
            let index = *next % self.addresses.len();
            let Some(address) = self.addresses.get(index) else {
                break;
            };
            *next = index + 1;
            let queues = Arc::clone(&self.queues);
            let opening = Connection::open(address.clone(), queues, Arc::clone(&self.calls));
            match timeout(CONNECT_TIMEOUT, opening).await {
                Ok(Ok(connection)) => {
                    *next = index;
                    let AMQPAuthority { host, port, .. } = &address.authority;
                    tracing::info!(host, port, "connected to RabbitMQ");
                    return Ok(connection);
                }
                Ok(Err(error)) => failure = error,
                Err(_) => failure = BrokerError::Unavailable("connection timeout".to_owned()),
            }
        }
        Err(failure)
    }
}

/// The address of each host, in the order of the setting.
pub(super) fn addresses(config: &config::Queue) -> Vec<AMQPUri> {
    let address = |host: &config::Host| AMQPUri {
        scheme: AMQPScheme::AMQP,
        authority: AMQPAuthority {
            userinfo: AMQPUserInfo {
                username: config.username.clone(),
                password: config.password.expose_secret().to_owned(),
            },
            host: host.name.clone(),
            port: host.port.unwrap_or(config.port),
        },
        vhost: "/".to_owned(),
        query: AMQPQueryString {
            heartbeat: Some(HEARTBEAT),
            ..AMQPQueryString::default()
        },
    };
    config.hosts.iter().map(address).collect()
}
