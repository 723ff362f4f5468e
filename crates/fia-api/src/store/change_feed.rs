//! The change feed: a connection that hears which instruments were changed, by whomever.
//!
//! It is a direct one, as a pooler in transaction mode cannot carry it, and it is not needed for
//! anything: while it is away, what is cached is as old as its time to live allows.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use secrecy::ExposeSecret as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tokio_postgres::{AsyncMessage, Client, Config as PgConfig, Connection, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::config;
use crate::store::{StoreError, tls};

/// How long an attempt to connect may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How often the connection is asked for a sign of life.
const HEARTBEAT: Duration = Duration::from_secs(3);
/// How long an answer on it may take.
const ANSWER: Duration = Duration::from_secs(3);
/// The pauses between attempts to connect: the first, and what they grow to. Each is cut by up
/// to a half, at random.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// The most changes that wait to be taken; the server keeps those beyond.
const WAITING: usize = 1024;

const LISTEN: &str = "LISTEN fia_api_instruments";
/// Whether anybody notifies.
const HAS_TRIGGER: &str = "SELECT EXISTS (SELECT FROM pg_trigger \
     WHERE tgrelid = to_regclass('instruments') AND tgname = 'fia_api_instruments_value')";

/// What has happened to the table `instruments`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Change {
    /// The instrument of this name was added, changed or removed.
    Instrument(String),
    /// Anything may have happened: the feed was away until now, or the table was emptied.
    Unknown,
}

/// How the change feed is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangeFeedStats {
    /// Whether changes are heard of.
    pub up: bool,
    /// What was heard so far.
    pub notifications: u64,
    /// How often the connection was made anew.
    pub reconnects: u64,
}

/// The changes of instruments, as they happen. Dropped, it hears no more.
pub struct ChangeFeed {
    changes: mpsc::Receiver<Change>,
    counts: Arc<ChangeFeedCounters>,
    task: AbortHandle,
}

/// What is counted of a feed; it may be kept beyond it.
#[derive(Default)]
pub struct ChangeFeedCounters {
    up: AtomicBool,
    notifications: AtomicU64,
    connections: AtomicU64,
}

impl ChangeFeedCounters {
    /// The counts now.
    #[must_use]
    pub fn statistics(&self) -> ChangeFeedStats {
        ChangeFeedStats {
            up: self.up.load(Ordering::Relaxed),
            notifications: self.notifications.load(Ordering::Relaxed),
            reconnects: self.connections.load(Ordering::Relaxed).saturating_sub(1),
        }
    }
}

impl ChangeFeed {
    /// Starts to listen, if there is an address for that; does not wait for the server. To be
    /// called within a Tokio runtime.
    ///
    /// # Errors
    /// When the address cannot be parsed or the TLS library cannot be set up.
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
            .connect_timeout(CONNECT)
            .tcp_user_timeout(ANSWER)
            .keepalives_idle(Duration::from_secs(30));
        let (sender, changes) = mpsc::channel(WAITING);
        let counts = Arc::new(ChangeFeedCounters::default());
        let listener = Listener {
            pg,
            tls: tls::connector(config.ssl_mode)?,
            changes: sender,
            counts: Arc::clone(&counts),
        };
        Ok(Some(Self {
            changes,
            counts,
            task: tokio::spawn(listener.run()).abort_handle(),
        }))
    }

    /// Waits for changes, and takes all that there are.
    pub async fn next(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        self.changes.recv_many(&mut changes, WAITING).await;
        changes
    }

    /// What is counted.
    #[must_use]
    pub fn counts(&self) -> Arc<ChangeFeedCounters> {
        Arc::clone(&self.counts)
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
    counts: Arc<ChangeFeedCounters>,
}

impl Listener {
    /// Listens, again and again.
    async fn run(self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let Err(error) = self.listen().await else {
                return;
            };
            let was_up = self.counts.up.swap(false, Ordering::Relaxed);
            if was_up {
                pause = FIRST_PAUSE;
            }
            // Once, and not at each attempt.
            if was_up || pause == FIRST_PAUSE {
                tracing::warn!(%error, "the change feed is away: what others change shows later");
            } else {
                tracing::debug!(%error, "the change feed is still away");
            }
            sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Listens on one connection until it fails, or until nobody takes the changes any more.
    async fn listen(&self) -> Result<(), StoreError> {
        let connecting = timeout(CONNECT, self.pg.connect(self.tls.clone()));
        let (client, connection) = connecting.await.map_err(|_| silent())??;
        tokio::select! {
            ended = self.forward(connection) => ended,
            ended = self.keep(&client) => ended,
        }
    }

    /// Begins to listen, and looks for signs of life.
    async fn keep(&self, client: &Client) -> Result<(), StoreError> {
        in_time(client.batch_execute(LISTEN)).await?;
        let found = in_time(client.simple_query(HAS_TRIGGER)).await?;
        if !found.iter().any(is_true) {
            tracing::warn!(
                "nothing tells of changed instruments (see `fia-api schema --change-feed --apply`)"
            );
        }
        self.counts.connections.fetch_add(1, Ordering::Relaxed);
        // Whatever happens from now on is heard; what happened before is not known.
        if self.changes.send(Change::Unknown).await.is_err() {
            return Ok(());
        }
        self.counts.up.store(true, Ordering::Relaxed);
        tracing::info!("the change feed is up");
        loop {
            sleep(HEARTBEAT).await;
            in_time(client.batch_execute("SELECT 1")).await?;
        }
    }

    /// Drives the connection, and passes on what is heard on it. While nobody takes it, no more
    /// is read.
    async fn forward<S, T>(&self, mut connection: Connection<S, T>) -> Result<(), StoreError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
        T: AsyncRead + AsyncWrite + Unpin,
    {
        while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
            let AsyncMessage::Notification(heard) = message? else {
                continue;
            };
            self.counts.notifications.fetch_add(1, Ordering::Relaxed);
            let change = match heard.payload() {
                "" => Change::Unknown,
                name => Change::Instrument(name.to_owned()),
            };
            if self.changes.send(change).await.is_err() {
                return Ok(());
            }
        }
        Err(StoreError::Unavailable("the connection was closed".into()))
    }
}

fn is_true(message: &SimpleQueryMessage) -> bool {
    matches!(message, SimpleQueryMessage::Row(row) if row.get(0) == Some("t"))
}

async fn in_time<T>(
    work: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, StoreError> {
    Ok(timeout(ANSWER, work).await.map_err(|_| silent())??)
}

fn silent() -> StoreError {
    StoreError::Unavailable("no answer in time".into())
}
