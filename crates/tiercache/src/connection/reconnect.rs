//! The reconnect loop: keeps the circuit breaker's connection alive, or replaces it.
//!
//! It always opens a *new* connection: a half-open one would never reply, however healthy the
//! server.

use std::sync::Arc;
use std::time::Duration;

use redis::AsyncConnectionConfig;
use tokio::time::{Instant, sleep, timeout};

use crate::connection::backoff::Backoff;
use crate::connection::breaker::CircuitBreaker;
use crate::connection::{CommandError, Connection};
use crate::event::{Event, Events};
use crate::local::coherence::{Coherence, ServerId};
use crate::server::Server;
use crate::settings::Settings;
use crate::write::pending::PendingInvalidations;

/// Commands that may wait for the socket. Beyond it, callers wait, within their timeouts.
const PIPELINE_BUFFER: usize = 512;
/// A connection that failed sooner than this counts as a failed attempt, so backoff continues.
const STABLE_AFTER: Duration = Duration::from_secs(1);

/// The timeouts of the loop's own commands, and the interval between heartbeats.
pub(crate) struct Timeouts {
    connect: Duration,
    read: Duration,
    write: Duration,
    heartbeat: Duration,
}

impl From<&Settings> for Timeouts {
    fn from(settings: &Settings) -> Self {
        Self {
            connect: settings.connect_timeout,
            read: settings.read_timeout,
            write: settings.write_timeout,
            heartbeat: settings.heartbeat,
        }
    }
}

/// The task that reconnects.
pub(crate) struct Loop {
    pub(crate) server: Server,
    pub(crate) timeouts: Timeouts,
    pub(crate) breaker: Arc<CircuitBreaker>,
    pub(crate) pending: Arc<PendingInvalidations>,
    pub(crate) coherence: Arc<Coherence>,
    pub(crate) events: Events,
}

impl Loop {
    /// Connects, sends heartbeats, and reconnects. Never returns.
    pub(crate) async fn run(self) {
        let mut backoff = Backoff::new();
        let mut lost = Instant::now();
        loop {
            let (connection, server) = self.connect_until_success(&mut backoff, lost).await;
            let connection = Arc::new(connection);
            self.coherence.set_command_server(server);
            let since = Instant::now();
            self.breaker.close(Arc::clone(&connection));
            tracing::info!("Valkey available: shared cache in use");
            self.events.emit(Event::SharedLevelUp);
            self.watch(&connection).await;
            lost = Instant::now();
            self.breaker.open();
            self.events.emit(Event::SharedLevelDown);
            if since.elapsed() >= STABLE_AFTER {
                backoff = Backoff::new();
            } else {
                sleep(backoff.next()).await;
            }
        }
    }

    /// Returns a connection once what is pending was sent over it, with the invalidations from
    /// before the last one was `lost`.
    async fn connect_until_success(
        &self,
        backoff: &mut Backoff,
        lost: Instant,
    ) -> (Connection, ServerId) {
        let mut is_logged = false;
        loop {
            let error = match timeout(self.timeouts.connect, self.connect()).await {
                Ok(Ok((connection, server))) => {
                    self.pending.enqueue_recent(lost);
                    let flushed = self.pending.flush(&connection, self.timeouts.write).await;
                    match flushed {
                        Ok(()) => return (connection, server),
                        Err(error) => error,
                    }
                }
                Ok(Err(error)) => error,
                Err(_) => CommandError::Timeout,
            };
            let text = error.to_string();
            self.events.emit(Event::ConnectFailed { error: &text });
            if !is_logged {
                is_logged = true;
                tracing::warn!(
                    ?error,
                    "cannot connect to Valkey: shared cache bypassed; retrying"
                );
            }
            sleep(backoff.next()).await;
        }
    }

    async fn connect(&self) -> Result<(Connection, ServerId), CommandError> {
        let config = AsyncConnectionConfig::new().set_pipeline_buffer_size(PIPELINE_BUFFER);
        let connect = async |config| self.server.connect(&config).await;
        let connection = Connection::open("commands", config, connect).await?;
        connection.ping(self.timeouts.connect).await?;
        let server = connection.server(self.timeouts.connect).await?;
        Ok((connection, server))
    }

    /// Returns when the connection is closed. The heartbeat detects a failure before a request
    /// does, and retries the invalidations that failed while the connection was open.
    async fn watch(&self, connection: &Connection) {
        while !connection.is_closed() {
            match connection.ping(self.timeouts.read).await {
                Ok(()) => {}
                Err(CommandError::Server(error)) => {
                    connection.close(&error.to_string());
                    return;
                }
                // Without a pause: consecutive timeouts open the breaker.
                Err(_) => continue,
            }
            if let Err(error) = self.pending.flush(connection, self.timeouts.write).await {
                tracing::warn!(?error, "invalidations not confirmed: they stay pending");
            }
            if !self.server.is_unmoved().await {
                connection.close("the sentinels name another primary");
            }
            let _ = timeout(self.timeouts.heartbeat, connection.wait_closed()).await;
        }
    }
}
