//! The change feed: a connection that receives notifications of changed instruments and jobs, by
//! whichever client.
//!
//! The connection is direct, as a pooler in transaction mode does not support LISTEN. The feed is
//! optional: without it, changes by other clients become visible when the TTL expires.

mod coverage;

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tokio_postgres::{AsyncMessage, Client, Config as PgConfig, Connection};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::config;
use crate::store::change_feed::coverage::{TRIGGERS, warn_of_triggers};
use crate::store::feed_counters::ChangeFeedCounters;
use crate::store::{StoreError, tls};

/// The time limit to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The interval between heartbeats.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(3);
/// The time limit for a response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(3);
/// The backoff between attempts to connect: it doubles from the minimum to the maximum, with a
/// jitter of up to a half. The end of an outage is noticed within 2 s.
const MIN_BACKOFF: Duration = Duration::from_millis(200);
const MAX_BACKOFF: Duration = Duration::from_secs(1);
/// The capacity of the queue of changes. Backpressure: unread notifications stay in PostgreSQL.
const QUEUE: usize = 1024;

const LISTEN: &str = "LISTEN fia_api_instruments; LISTEN fia_api_jobs";
/// The channel of changes of jobs.
const JOBS: &str = "fia_api_jobs";
/// A change by any client.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Change {
    /// The instrument of this name was added, changed or removed.
    Instrument(String),
    /// Any instrument may have changed: the table was truncated.
    AnyInstrument,
    /// What lists show of the jobs of an instrument of this name was changed.
    Jobs(String),
    /// What lists show of jobs of any instrument may have changed.
    AnyJobs,
    /// Anything may have changed: the feed has just connected.
    Unknown,
}

/// The stream of changes; dropping it closes the connection.
pub struct ChangeFeed {
    changes: mpsc::Receiver<Change>,
    counters: Arc<ChangeFeedCounters>,
    task: AbortHandle,
}

impl ChangeFeed {
    /// Starts the change feed if `DB_LISTEN_URL` is set; does not wait for the server. Must be
    /// called within a Tokio runtime.
    ///
    /// # Errors
    /// When the URL cannot be parsed or the TLS library cannot be initialised.
    pub fn start(config: &config::Database) -> Result<Option<Self>, StoreError> {
        let Some(url) = &config.listen_url else {
            return Ok(None);
        };
        let mut pg: PgConfig = url.expose_secret().parse()?;
        if pg.get_user().is_none() {
            pg.user(&config.username);
        }
        if pg.get_password().is_none() {
            pg.password(config.password.expose_secret());
        }
        if pg.get_dbname().is_none() {
            pg.dbname(&config.name);
        }
        if pg.get_application_name().is_none() {
            pg.application_name("fia-api change feed");
        }
        pg.ssl_mode(tls::mode(config.ssl_mode))
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_user_timeout(RESPONSE_TIMEOUT)
            .keepalives_idle(Duration::from_secs(30));
        let (sender, changes) = mpsc::channel(QUEUE);
        let counters = Arc::new(ChangeFeedCounters::default());
        let listener = Listener {
            pg,
            tls: tls::connector(config.ssl_mode)?,
            changes: sender,
            counters: Arc::clone(&counters),
        };
        Ok(Some(Self {
            changes,
            counters,
            task: tokio::spawn(listener.run()).abort_handle(),
        }))
    }

    /// Waits for changes, and returns all that are queued.
    pub async fn next(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        self.changes.recv_many(&mut changes, QUEUE).await;
        changes
    }

    /// The counters.
    #[must_use]
    pub fn counters(&self) -> Arc<ChangeFeedCounters> {
        Arc::clone(&self.counters)
    }
}

impl Drop for ChangeFeed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The task behind a feed.
struct Listener {
    pg: PgConfig,
    tls: MakeRustlsConnect,
    changes: mpsc::Sender<Change>,
    counters: Arc<ChangeFeedCounters>,
}

impl Listener {
    /// Listens, and reconnects with backoff.
    async fn run(self) {
        let mut backoff = MIN_BACKOFF;
        loop {
            let Err(error) = self.listen().await else {
                return;
            };
            self.counters.health.failed(&error);
            let was_up = self.counters.up.swap(false, Ordering::Relaxed);
            if was_up {
                backoff = MIN_BACKOFF;
            }
            // Once, and not at each attempt.
            if was_up || backoff == MIN_BACKOFF {
                tracing::warn!(
                    %error,
                    "change feed disconnected: changes by other clients become visible after the TTL"
                );
            } else {
                tracing::debug!(%error, "change feed still disconnected");
            }
            sleep(backoff.mul_f64(rand::random_range(0.5..1.0))).await;
            backoff = (backoff * 2).min(MAX_BACKOFF);
        }
    }

    /// Listens on one connection until it fails or the [`ChangeFeed`] is dropped.
    async fn listen(&self) -> Result<(), StoreError> {
        let connecting = timeout(CONNECT_TIMEOUT, self.pg.connect(self.tls.clone()));
        let (client, connection) = connecting.await.map_err(|_| no_response())??;
        tokio::select! {
            ended = self.forward(connection) => ended,
            ended = self.listen_and_ping(&client) => ended,
        }
    }

    /// Subscribes, checks the trigger, and sends heartbeats.
    async fn listen_and_ping(&self, client: &Client) -> Result<(), StoreError> {
        in_time(client.batch_execute(LISTEN)).await?;
        warn_of_triggers(&in_time(client.simple_query(TRIGGERS)).await?);
        self.counters.connections.fetch_add(1, Ordering::Relaxed);
        // Later changes are notified; those before the LISTEN are unknown.
        if self.changes.send(Change::Unknown).await.is_err() {
            return Ok(());
        }
        self.counters.up.store(true, Ordering::Relaxed);
        self.counters.health.succeeded();
        tracing::info!("change feed connected");
        loop {
            sleep(HEARTBEAT_INTERVAL).await;
            in_time(client.batch_execute("SELECT 1")).await?;
        }
    }

    /// Drives the connection and queues notifications; reads no further while the queue is full.
    async fn forward<S, T>(&self, mut connection: Connection<S, T>) -> Result<(), StoreError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
        T: AsyncRead + AsyncWrite + Unpin,
    {
        while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
            let AsyncMessage::Notification(notification) = message? else {
                continue;
            };
            self.counters.notifications.fetch_add(1, Ordering::Relaxed);
            let change = match (notification.channel(), notification.payload()) {
                (JOBS, "") => Change::AnyJobs,
                (JOBS, name) => Change::Jobs(name.to_owned()),
                (_, "") => Change::AnyInstrument,
                (_, name) => Change::Instrument(name.to_owned()),
            };
            if self.changes.send(change).await.is_err() {
                return Ok(());
            }
        }
        Err(StoreError::Unavailable("connection closed".into()))
    }
}

async fn in_time<T>(
    work: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, StoreError> {
    Ok(timeout(RESPONSE_TIMEOUT, work)
        .await
        .map_err(|_| no_response())??)
}

fn no_response() -> StoreError {
    StoreError::Unavailable("no response in time".into())
}
