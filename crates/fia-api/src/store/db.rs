//! The pool of connections, and the two ways to use one: a query, or a transaction.
//!
//! Every wait has a limit: for a free connection, for a new one, for a statement (on the
//! server and here). A connection whose answer did not come in time, or whose caller went
//! away, is thrown away: what arrives late on it belongs to nobody else.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{
    Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, TimeoutType,
};
use secrecy::ExposeSecret;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Config as PgConfig, Row};

use crate::config;
use crate::store::tls;

/// How long a request waits for a free connection of the pool.
const POOL_WAIT: Duration = Duration::from_millis(500);
/// How long a new connection may take.
const CONNECT: Duration = Duration::from_secs(1);
/// How long an answer is awaited here, for when the server or the pooler says nothing.
const ANSWER: Duration = Duration::from_millis(3500);

/// Opens a transaction that the server itself ends, should this process be gone or stuck. A
/// statement may run for 3 s: below the life of a cache lease (5 s), so that a slow load cannot
/// outlive its right to fill. Sent in one packet with the statement that follows.
///
/// No statement here runs long enough to be worth compiling, which would take longer, and few
/// are worth the milliseconds that it takes to start parallel workers.
pub(super) const BEGIN: &str = "BEGIN; SET LOCAL statement_timeout = 3000; SET LOCAL jit = off; \
     SET LOCAL parallel_setup_cost = 10000; \
     SET LOCAL idle_in_transaction_session_timeout = 5000";
/// How many long answers may be under way at once.
const LONG_ANSWERS: usize = 4;

/// A parameter and its type: with the type given, a query takes one round trip and needs no
/// named statement.
pub(super) type Param<'a> = (&'a (dyn ToSql + Sync), Type);

/// A failure of the database.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// No connection was free in time.
    #[error("no free database connection within {} ms", POOL_WAIT.as_millis())]
    Busy,
    /// It cannot be reached, or did not answer in time.
    #[error("database unavailable: {0}")]
    Unavailable(Arc<str>),
    /// A value that a client gave is none of its column's type.
    #[error("bad value: {0}")]
    BadValue(Arc<str>),
    /// It refused the statement.
    #[error("database error: {0}")]
    Refused(Arc<str>),
}

/// How the pool of connections is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// The most that there may be.
    pub max: usize,
    /// Those that somebody uses.
    pub in_use: usize,
    /// Those that are open and free.
    pub idle: usize,
    /// Requests that wait for one.
    pub waiting: usize,
}

/// A pool of connections to PostgreSQL.
#[derive(Debug, Clone)]
pub struct Db {
    pool: Pool,
    long_answers: Arc<Semaphore>,
}

impl Db {
    /// Prepares the pool; nothing is connected yet.
    ///
    /// # Errors
    /// When the TLS library cannot be set up.
    pub fn new(config: &config::Database) -> Result<Self, StoreError> {
        let mut pg = PgConfig::new();
        pg.host(&config.host)
            .port(config.port)
            .user(&config.username)
            .password(config.password.expose_secret())
            .dbname(&config.name)
            .ssl_mode(tls::mode(config.ssl_mode))
            .connect_timeout(CONNECT)
            .tcp_user_timeout(ANSWER)
            .keepalives_idle(Duration::from_secs(30));
        let manager = Manager::from_config(
            pg,
            tls::connector(config.ssl_mode)?,
            ManagerConfig {
                recycling_method: RecyclingMethod::Fast,
            },
        );
        let pool = Pool::builder(manager)
            .max_size(config.pool_size)
            .wait_timeout(Some(POOL_WAIT))
            .create_timeout(Some(CONNECT))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| StoreError::Unavailable(error.to_string().into()))?;
        Ok(Self {
            pool,
            long_answers: Arc::new(Semaphore::new(LONG_ANSWERS)),
        })
    }

    /// How the pool of connections is.
    #[must_use]
    pub fn connections(&self) -> Connections {
        let status = self.pool.status();
        Connections {
            max: status.max_size,
            in_use: status.size.saturating_sub(status.available),
            idle: status.available,
            waiting: status.waiting,
        }
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// When it does not, within the limits of any query.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.query("SELECT 1", &[]).await.map(drop)
    }

    /// Runs one statement in a transaction of its own, in one round trip.
    pub(super) async fn query(
        &self,
        sql: &str,
        params: &[Param<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        self.query_after(BEGIN, sql, params).await
    }

    /// As [`Db::query`], in a transaction that another text than [`BEGIN`] opens.
    pub(super) async fn query_after(
        &self,
        begin: &str,
        sql: &str,
        params: &[Param<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        let connection = self.connection().await?;
        let client = connection.client();
        let (begun, rows, ended) = answer(async {
            Ok(tokio::join!(
                client.batch_execute(begin),
                client.query_typed(sql, params),
                client.batch_execute("COMMIT"),
            ))
        })
        .await?;
        // All has been answered: whatever went wrong, nothing is under way here any more.
        connection.give_back();
        begun?;
        let rows = rows?;
        ended?;
        Ok(rows)
    }

    /// Runs one changing statement; where it changed a row, awaits `before_commit`, which runs
    /// while the row is locked, then commits. Returns whether a row was changed.
    ///
    /// An error may mean that the change was made all the same: the answer to `COMMIT` can be
    /// lost. To be run in a task of its own, so that a client that hangs up cannot part the
    /// commit from what follows it.
    pub(super) async fn update(
        &self,
        sql: &str,
        params: &[Param<'_>],
        before_commit: impl Future<Output = ()>,
    ) -> Result<bool, StoreError> {
        let connection = self.connection().await?;
        let client = connection.client();
        let (begun, changed) = answer(async {
            Ok(tokio::join!(
                client.batch_execute(BEGIN),
                client.execute_typed(sql, params),
            ))
        })
        .await?;
        begun?;
        let changed = changed? > 0;
        if changed {
            before_commit.await;
        }
        answer(client.batch_execute(if changed { "COMMIT" } else { "ROLLBACK" })).await?;
        connection.give_back();
        Ok(changed)
    }

    /// Runs statements without parameters, one after another, with a limit of its own.
    pub(super) async fn batch(&self, sql: &str, limit: Duration) -> Result<(), StoreError> {
        let connection = self.connection().await?;
        timeout(limit, connection.client().batch_execute(sql))
            .await
            .map_err(|_| StoreError::Unavailable("no answer in time".into()))??;
        connection.give_back();
        Ok(())
    }

    /// A connection from the pool.
    pub(super) async fn connection(&self) -> Result<Connection, StoreError> {
        Ok(Connection(Some(self.pool.get().await?)))
    }

    /// The turns of long answers.
    pub(super) fn long_answers(&self) -> Arc<Semaphore> {
        Arc::clone(&self.long_answers)
    }
}

/// Awaits an answer of the server, for a limited time.
pub(super) async fn answer<T>(
    work: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, StoreError> {
    timeout(ANSWER, work)
        .await
        .map_err(|_| StoreError::Unavailable("no answer in time".into()))?
        .map_err(StoreError::from)
}

/// A connection on loan. Unless it is given back, it is closed: an answer may still be under
/// way on it, or a transaction open.
pub(super) struct Connection(Option<Object>);

impl Connection {
    #[expect(
        clippy::expect_used,
        reason = "it is taken by give_back and drop alone"
    )]
    pub(super) fn client(&self) -> &tokio_postgres::Client {
        self.0.as_ref().expect("a connection on loan")
    }

    pub(super) fn give_back(mut self) {
        self.0.take();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(object) = self.0.take() {
            drop(Object::take(object));
        }
    }
}

impl From<PoolError> for StoreError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Timeout(TimeoutType::Wait) => Self::Busy,
            other => Self::Unavailable(describe(&other)),
        }
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        let text = describe(&error);
        match error.code() {
            Some(code) if code.code().starts_with(DATA_EXCEPTION) => Self::BadValue(text),
            Some(code) if !is_outage(code.code()) => Self::Refused(text),
            _ => Self::Unavailable(text),
        }
    }
}

/// The class of the SQLSTATEs that speak of a value: not a date, out of range, …
const DATA_EXCEPTION: &str = "22";

/// Whether an SQLSTATE says that the server, not the statement, is the trouble: the connection
/// (08), a conflict to be tried again (40), resources (53), a limit or an operator (57), a
/// standby (25006), an idle transaction that the server ended (25P03).
fn is_outage(sqlstate: &str) -> bool {
    ["08", "40", "53", "57", "25006", "25P03"]
        .iter()
        .any(|class| sqlstate.starts_with(class))
}

/// An error with its causes, for the log.
fn describe(error: &dyn std::error::Error) -> Arc<str> {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text.into()
}
