//! The reconnect loop: keeps the circuit breaker's connection alive, or replaces it.
//!
//! It always opens a *new* connection: a half-open one would never reply, however healthy the
//! server.

use std::sync::Arc;
use std::time::Duration;

use redis::AsyncConnectionConfig;

use crate::connection::backoff::Backoff;
use crate::connection::breaker::CircuitBreaker;
use crate::connection::lacks::Lacks;
use crate::connection::large::{Beside, Large, LargeKeys};
use crate::connection::{CommandError, Connection, Redirects, Replication};
use crate::event::{Event, Events};
use crate::local::coherence::{Coherence, NodeId, ServerId};
use crate::seams::mutant;
use crate::seams::{Instant, sleep, timeout};
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
    pub(crate) node: NodeId,
    pub(crate) timeouts: Timeouts,
    pub(crate) breaker: Arc<CircuitBreaker>,
    pub(crate) pending: Arc<PendingInvalidations>,
    pub(crate) coherence: Arc<Coherence>,
    pub(crate) events: Events,
    pub(crate) large_keys: Arc<LargeKeys>,
    /// The number of replicas that must have a fence.
    pub(crate) waits_for: u32,
    /// For a node of a cluster.
    pub(crate) member: Option<Member>,
}

/// What a node of a cluster needs to know of it.
pub(crate) struct Member {
    pub(crate) redirects: Arc<dyn Redirects>,
    /// Whether the node has a key.
    pub(crate) owns: Arc<Owns>,
}

type Owns = dyn Fn(&str) -> bool + Send + Sync;

impl Loop {
    /// Connects, sends heartbeats, and reconnects. Never returns.
    pub(crate) async fn run(self) {
        let mut backoff = Backoff::new();
        let mut lost = Instant::now();
        let mut lacks = Lacks::default();
        loop {
            let (connection, server) = self.connect_until_success(&mut backoff, lost).await;
            let connection = Arc::new(connection);
            mutant!(ServerNotRecorded => self.breaker.close(Arc::clone(&connection)); self.watch(&connection).await; continue);
            self.coherence.set_command_server(self.node, server);
            let since = Instant::now();
            self.breaker.close(Arc::clone(&connection));
            tracing::info!("Valkey available: shared cache in use");
            if connection.lacks() != lacks {
                lacks = connection.lacks();
                tracing::warn!(%lacks, "Valkey lacks commands, or forbids them");
            }
            self.events.emit(Event::SharedLevelUp);
            self.watch(&connection).await;
            mutant!(NoReconnection => return self.breaker.open());
            lost = Instant::now();
            self.breaker.open();
            if self.member.is_some() {
                // Another node may take over the keys, long after now.
                self.pending.enqueue_recent(lost);
            }
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
                    mutant!(RecentNotRepeated => return (connection, server));
                    self.pending.enqueue_recent(lost);
                    mutant!(UsedBeforeFlush => return (connection, server));
                    match self.flush(&connection).await {
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

    async fn flush(&self, connection: &Connection) -> Result<(), CommandError> {
        let member = self.member.as_ref();
        let owns = |key: &str| member.is_none_or(|member| (member.owns)(key));
        let limit = self.timeouts.write;
        self.pending.flush(connection, owns, limit).await
    }

    async fn connect(&self) -> Result<(Connection, ServerId), CommandError> {
        let config = AsyncConnectionConfig::new().set_pipeline_buffer_size(PIPELINE_BUFFER);
        let connect = async |config| self.server.open(&config).await;
        let mut connection = Connection::open("commands", config, connect).await?;
        connection.ping(self.timeouts.connect).await?;
        connection.lacks = connection.probe(self.timeouts.connect).await?;
        let server = connection.server(self.timeouts.connect).await?;
        connection.large = Some(Large {
            keys: Arc::clone(&self.large_keys),
            beside: Beside::new(&self.server, &server),
        });
        connection.replication = (self.waits_for > 0).then(|| Replication {
            replicas: self.waits_for,
            beside: Beside::new(&self.server, &server),
        });
        let member = self.member.as_ref();
        connection.redirects = member.map(|member| Arc::clone(&member.redirects));
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
            if let Err(error) = self.flush(connection).await {
                tracing::warn!(?error, "invalidations not confirmed: they stay pending");
            }
            if !self.server.is_unmoved().await {
                connection.close("the sentinels name another primary");
            }
            let _ = timeout(self.timeouts.heartbeat, connection.wait_closed()).await;
        }
    }
}
