//! The connection pool, and the statements that run in a transaction of their own.
//!
//! Every wait has a limit: for a free connection, for a new one, for a statement (on the
//! server and in this process). A connection is closed when its response timed out or its
//! caller was cancelled: a late response must not reach another query.

use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::Manager as _;
use deadpool_postgres::{ClientWrapper, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use secrecy::ExposeSecret;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Config as PgConfig, Row};

use crate::config;
use crate::store::connection::Connection;
use crate::store::load::Load;
use crate::store::metrics::DatabaseMetrics;
use crate::store::{StoreError, tls};

/// Maximum wait for a free connection of the pool.
pub(super) const POOL_WAIT: Duration = Duration::from_millis(500);
/// Timeout for opening a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Client-side timeout for a response, for a server or pooler that hangs.
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(3500);

/// Idle time before TCP keep-alive probes.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);

/// Begins a transaction that the server ends by itself if this process dies or hangs. The
/// statement timeout of 3 s is shorter than a cache lease (5 s), so that a slow load cannot
/// outlive its lease. Pipelined with the statement that follows.
///
/// JIT compilation takes longer than any of these statements, and few are worth the
/// milliseconds that parallel workers take to start.
pub(super) const BEGIN: &str = "BEGIN; SET LOCAL statement_timeout = 3000; SET LOCAL jit = off; \
     SET LOCAL parallel_setup_cost = 10000; \
     SET LOCAL idle_in_transaction_session_timeout = 5000";
/// Maximum number of concurrently streamed results.
const MAX_STREAMED_RESULTS: usize = 4;

/// A parameter and its type. With explicit types a query needs one round trip and no named
/// statement.
pub(super) type Param<'a> = (&'a (dyn ToSql + Sync), Type);

/// State of the connection pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// Maximum number of connections.
    pub max: usize,
    /// Connections in use.
    pub in_use: usize,
    /// Open connections that are free.
    pub idle: usize,
    /// Requests waiting for a connection.
    pub waiting: usize,
}

/// A pool of connections to PostgreSQL.
#[derive(Debug, Clone)]
pub struct Db {
    pool: Pool,
    /// A single connection, so that a check of readiness does not wait for work.
    probe: Pool,
    load: Arc<Load>,
    metrics: Arc<DatabaseMetrics>,
    streamed_results: Arc<Semaphore>,
}

impl Db {
    /// Creates the pool without connecting.
    ///
    /// # Errors
    /// When TLS cannot be configured.
    pub fn new(config: &config::Database) -> Result<Self, StoreError> {
        let mut pg = PgConfig::new();
        pg.host(&config.host)
            .port(config.port)
            .user(&config.username)
            .password(config.password.expose_secret())
            .dbname(&config.name)
            .ssl_mode(tls::mode(config.ssl_mode))
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_user_timeout(RESPONSE_TIMEOUT)
            .keepalives_idle(KEEPALIVE_IDLE);
        let pool = |size| pool(pg.clone(), config.ssl_mode, size);
        Ok(Self {
            pool: pool(config.pool_size)?,
            probe: pool(1)?,
            load: Load::new(config.pool_size),
            metrics: Arc::default(),
            streamed_results: Arc::new(Semaphore::new(MAX_STREAMED_RESULTS)),
        })
    }

    /// The state of the connection pool.
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

    /// The requests that were refused so far, as they would have waited too long for a connection.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.load.refused()
    }

    /// The metrics of the pool and of the statements.
    #[must_use]
    pub fn metrics(&self) -> &Arc<DatabaseMetrics> {
        &self.metrics
    }

    /// Checks that the database responds, on a connection of its own.
    ///
    /// # Errors
    /// When it does not respond within the limits of a query.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let taking = async { Ok(self.probe.get().await?) };
        let connection = Connection::new(self.metrics.observe_pool(taking).await?, None);
        self.query_on(connection, BEGIN, "SELECT 1", &[]).await?;
        Ok(())
    }

    /// Runs one statement in a transaction of its own, in one round trip.
    pub(super) async fn query(
        &self,
        sql: &str,
        params: &[Param<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        self.query_after(BEGIN, sql, params).await
    }

    /// Runs one statement as [`Db::query`] does, with `begin` instead of [`BEGIN`].
    pub(super) async fn query_after(
        &self,
        begin: &str,
        sql: &str,
        params: &[Param<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        let connection = self.connection().await?;
        self.query_on(connection, begin, sql, params).await
    }

    async fn query_on(
        &self,
        connection: Connection,
        begin: &str,
        sql: &str,
        params: &[Param<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        let work = async {
            let client = connection.client();
            let (begun, rows, ended) = with_timeout(async {
                Ok(tokio::join!(
                    client.batch_execute(begin),
                    client.query_typed(sql, params),
                    client.batch_execute("COMMIT"),
                ))
            })
            .await?;
            // All three responses have arrived, so even after an error the connection is idle.
            connection.release();
            begun?;
            let rows = rows?;
            ended?;
            Ok(rows)
        };
        self.metrics.observe_statement(sql, work).await
    }

    /// Runs one data-changing statement. If it changed a row, awaits `before_commit` while the
    /// row is locked, then commits. Returns whether a row was changed.
    ///
    /// After an error the change may have been made: the response to `COMMIT` can be lost. Call
    /// it in a task of its own, so that a client's disconnect cannot separate the commit from
    /// the steps that follow it.
    pub(super) async fn update(
        &self,
        sql: &str,
        params: &[Param<'_>],
        before_commit: impl Future<Output = ()>,
    ) -> Result<bool, StoreError> {
        let connection = self.connection().await?;
        let client = connection.client();
        let work = async {
            let (begun, changed) = with_timeout(async {
                Ok(tokio::join!(
                    client.batch_execute(BEGIN),
                    client.execute_typed(sql, params),
                ))
            })
            .await?;
            begun?;
            Ok(changed? > 0)
        };
        let changed = self.metrics.observe_statement(sql, work).await?;
        if changed {
            before_commit.await;
        }
        let end = if changed { "COMMIT" } else { "ROLLBACK" };
        let work = with_timeout(client.batch_execute(end));
        self.metrics.observe_statement(end, work).await?;
        connection.release();
        Ok(changed)
    }

    /// Runs statements without parameters in order, with a timeout of its own.
    pub(super) async fn batch(&self, sql: &str, limit: Duration) -> Result<(), StoreError> {
        let connection = self.connection().await?;
        timeout(limit, connection.client().batch_execute(sql))
            .await
            .map_err(|_| StoreError::timeout())??;
        connection.release();
        Ok(())
    }

    /// Takes a connection from the pool.
    pub(super) async fn connection(&self) -> Result<Connection, StoreError> {
        let usage = self.load.admit()?;
        let taking = async { Ok(self.pool.get().await?) };
        let object = self.metrics.observe_pool(taking).await?;
        Ok(Connection::new(object, Some(usage.taken())))
    }

    /// Opens a connection outside the pool, so that its holder takes none from requests.
    pub(super) async fn open_connection(&self) -> Result<ClientWrapper, StoreError> {
        timeout(CONNECT_TIMEOUT, self.pool.manager().create())
            .await
            .map_err(|_| StoreError::timeout())?
            .map_err(StoreError::from)
    }

    /// The permits to stream a result.
    pub(super) fn streamed_results(&self) -> Arc<Semaphore> {
        Arc::clone(&self.streamed_results)
    }
}

fn pool(pg: PgConfig, ssl_mode: config::SslMode, size: usize) -> Result<Pool, StoreError> {
    let recycling_method = RecyclingMethod::Fast;
    let config = ManagerConfig { recycling_method };
    let manager = Manager::from_config(pg, tls::connector(ssl_mode)?, config);
    Pool::builder(manager)
        .max_size(size)
        .wait_timeout(Some(POOL_WAIT))
        .create_timeout(Some(CONNECT_TIMEOUT))
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(|error| StoreError::Unavailable(error.to_string().into()))
}

/// Awaits a response of the server for at most [`RESPONSE_TIMEOUT`].
pub(super) async fn with_timeout<T>(
    work: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, StoreError> {
    timeout(RESPONSE_TIMEOUT, work)
        .await
        .map_err(|_| StoreError::timeout())?
        .map_err(StoreError::from)
}
