//! The client of RabbitMQ, which reconnects on demand.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use secrecy::ExposeSecret;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::broker::Connection;
use crate::config;
use crate::observe::{Calls, Failure};

/// Timeout for opening a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Time without a further attempt after a failed one: requests in that time fail at once instead
/// of waiting for a timeout each.
const RECONNECT_BACKOFF: Duration = Duration::from_millis(500);
/// Heartbeat interval in seconds; the connection is closed after two missed ones.
const HEARTBEAT: u16 = 10;

/// A message was not confirmed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BrokerError {
    /// There is no connection, or it was lost.
    #[error("broker unavailable: {0}")]
    Unavailable(String),
    /// The broker blocks publishers: it is short of memory or disk.
    #[error("broker blocks publishers: resource alarm")]
    Blocked,
    /// The broker returned or rejected the message.
    #[error("message not accepted by the broker: {0}")]
    Rejected(&'static str),
}

impl From<lapin::Error> for BrokerError {
    fn from(error: lapin::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// A client of RabbitMQ.
pub struct Broker {
    address: AMQPUri,
    current: Mutex<Current>,
    calls: Arc<Calls>,
}

#[derive(Default)]
struct Current {
    connection: Option<Arc<Connection>>,
    failed: Option<(Instant, BrokerError)>,
}

impl Broker {
    /// Creates the client without connecting.
    #[must_use]
    pub fn new(config: &config::Queue) -> Self {
        Self {
            address: AMQPUri {
                scheme: AMQPScheme::AMQP,
                authority: AMQPAuthority {
                    userinfo: AMQPUserInfo {
                        username: config.username.clone(),
                        password: config.password.expose_secret().to_owned(),
                    },
                    host: config.host.clone(),
                    port: config.port,
                },
                vhost: "/".to_owned(),
                query: AMQPQueryString {
                    heartbeat: Some(HEARTBEAT),
                    ..AMQPQueryString::default()
                },
            },
            current: Mutex::default(),
            calls: Arc::default(),
        }
    }

    /// The publications since the start, and the failed attempts to connect.
    #[must_use]
    pub fn calls(&self) -> &Arc<Calls> {
        &self.calls
    }

    /// Returns the connection, and opens it if there is none.
    ///
    /// # Errors
    /// [`BrokerError::Unavailable`] within 2 s, or at once shortly after another failure.
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
        if let Some((at, error)) = &current.failed
            && at.elapsed() < RECONNECT_BACKOFF
        {
            return Err(error.clone());
        }
        let start = Instant::now();
        match self.connect().await {
            Ok(connection) => {
                tracing::info!("connected to RabbitMQ");
                current.failed = None;
                let connection = current.connection.insert(Arc::new(connection));
                Ok(Arc::clone(connection))
            }
            Err(error) => {
                let elapsed = start.elapsed();
                self.calls.record(elapsed, Some(Failure::Unavailable));
                current.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    async fn connect(&self) -> Result<Connection, BrokerError> {
        timeout(
            CONNECT_TIMEOUT,
            Connection::open(self.address.clone(), Arc::clone(&self.calls)),
        )
        .await
        .map_err(|_| BrokerError::Unavailable("connection timeout".to_owned()))?
    }
}
