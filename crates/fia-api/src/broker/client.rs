//! The one connection, mended when it is asked for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use secrecy::ExposeSecret;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::broker::Connection;
use crate::config;

/// How long a connection may take to make.
const CONNECT: Duration = Duration::from_secs(2);
/// How long the broker is left alone after a failed attempt: jobs that come in meanwhile do not
/// each wait for one.
const PAUSE: Duration = Duration::from_millis(500);
/// Seconds between signs of life; the peer is given up after two without one.
const HEARTBEAT: u16 = 10;

/// Why a message is not known to have arrived.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BrokerError {
    /// There is no connection, or it broke.
    #[error("the broker is away: {0}")]
    Away(String),
    /// It takes no messages: it is short of memory or disk.
    #[error("the broker takes no messages")]
    Blocked,
    /// It gave the message back, or refused it.
    #[error("the broker did not take the message: {0}")]
    Refused(&'static str),
}

impl From<lapin::Error> for BrokerError {
    fn from(error: lapin::Error) -> Self {
        Self::Away(error.to_string())
    }
}

/// A client of RabbitMQ.
pub struct Broker {
    address: AMQPUri,
    current: Mutex<Current>,
}

#[derive(Default)]
struct Current {
    connection: Option<Arc<Connection>>,
    failed: Option<(Instant, BrokerError)>,
}

impl Broker {
    /// Prepares the client; nothing is connected yet.
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
        }
    }

    /// The connection, made now if there is none.
    ///
    /// # Errors
    /// [`BrokerError::Away`], within 2 s, or at once shortly after another failure.
    pub async fn connection(&self) -> Result<Arc<Connection>, BrokerError> {
        // Held while connecting: there never is a second connection.
        let mut current = self.current.lock().await;
        if let Some(connection) = current
            .connection
            .take_if(|connection| !connection.is_open())
        {
            tracing::warn!("the connection to RabbitMQ broke");
            drop(connection);
        }
        if let Some(connection) = &current.connection {
            return Ok(Arc::clone(connection));
        }
        if let Some((at, error)) = &current.failed
            && at.elapsed() < PAUSE
        {
            return Err(error.clone());
        }
        match self.connect().await {
            Ok(connection) => {
                tracing::info!("connected to RabbitMQ");
                current.failed = None;
                let connection = current.connection.insert(Arc::new(connection));
                Ok(Arc::clone(connection))
            }
            Err(error) => {
                current.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    async fn connect(&self) -> Result<Connection, BrokerError> {
        timeout(CONNECT, Connection::open(self.address.clone()))
            .await
            .map_err(|_| BrokerError::Away("no answer in time".to_owned()))?
    }
}
