//! The connection pool, and the statements that keep a transaction open.
//!
//! Every wait has a limit: for a free connection, for a new one, for a statement (on the
//! server and in this process). A connection is closed when its response timed out or its
//! caller was cancelled: a late response must not reach another query. It is also closed when the
//! server refused it as a standby; such a statement is repeated (see `retry`).

use std::sync::Arc;
use std::time::Duration;

use deadpool::Runtime;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::timeout;
use tokio_postgres::Row;

use crate::config;
use crate::store::StoreError;
use crate::store::begin::{Param, begin_within};
use crate::store::connect::Connector;
use crate::store::connection::Connection;
use crate::store::list_table::ListTable;
use crate::store::load::Load;
use crate::store::manager::{Manager, Pool};
use crate::store::metrics::DatabaseMetrics;
use crate::store::pool::POOL_WAIT;
use crate::store::query::{Purpose, Query};
use crate::store::retry::{Repeat, repeated, repeated_within};
use crate::store::session::{Session, SessionKind};
use crate::store::shared::SharedConnections;
use crate::store::timeout::{RESPONSE_TIMEOUT, TimeLimit, with_timeout};
use crate::store::transaction::Transaction;

/// Maximum number of concurrently streamed results.
const MAX_STREAMED_RESULTS: usize = 4;

/// A pool of connections to PostgreSQL.
#[derive(Clone)]
pub struct Db {
    pub(super) pool: Pool,
    /// A single connection, so that a check of readiness does not wait for work.
    pub(super) probe: Pool,
    pub(super) shared: Arc<SharedConnections>,
    pub(super) load: Arc<Load>,
    pub(super) metrics: Arc<DatabaseMetrics>,
    pub(super) list_table: Arc<ListTable>,
    streamed_results: Arc<Semaphore>,
    /// Held by the request that retries while the server has no connection to spare; the others
    /// queue.
    pub(super) saturated: Arc<Mutex<()>>,
}

impl Db {
    /// Creates the pool without connecting.
    ///
    /// # Errors
    /// When TLS cannot be configured.
    pub fn new(config: &config::Database) -> Result<Self, StoreError> {
        let connector = Connector::new(config)?;
        let pool = |size| pool(connector.clone(), size);
        Ok(Self {
            pool: pool(config.pool_size)?,
            probe: pool(1)?,
            shared: SharedConnections::of_pool(config.pool_size),
            load: Load::new(config.pool_size),
            metrics: Arc::default(),
            list_table: Arc::default(),
            streamed_results: Arc::new(Semaphore::new(MAX_STREAMED_RESULTS)),
            saturated: Arc::default(),
        })
    }

    /// The requests that were refused so far, as they would have waited too long for a connection.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.load.refused()
    }

    /// Whether lists and counts of jobs are read from the list table.
    #[must_use]
    pub fn uses_list_table(&self) -> bool {
        self.list_table.is_usable()
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
        repeated(Repeat::Always, || self.probe("SELECT 1", Purpose::Read)).await?;
        Ok(())
    }

    /// Runs a statement on the connection of [`Db::ping`], so that it takes none from requests.
    pub(super) async fn probe(
        &self,
        sql: &str,
        purpose: Purpose<'_>,
    ) -> Result<Vec<Row>, StoreError> {
        let taking = async { Ok(self.probe.get().await?) };
        let connection = Connection::new(self.metrics.observe_pool(taking).await?, None);
        let query = Query {
            sql,
            params: &[],
            purpose,
        };
        self.query_on(connection, query).await
    }

    /// Begins a transaction and runs one data-changing statement in it, which returns the rows that
    /// it changed. `None` if it changed none; then the transaction is ended. Its parameters have
    /// `bytes` bytes.
    pub(super) async fn update(
        &self,
        sql: &str,
        params: &[Param<'_>],
        bytes: usize,
    ) -> Result<Option<(Transaction, Vec<Row>)>, StoreError> {
        let limit = TimeLimit::of_parameters(bytes);
        // `COMMIT` is sent later: nothing is written yet.
        let executed = repeated_within(limit, Repeat::Always, || self.execute(sql, params, limit));
        let (connection, rows) = executed.await?;
        if !rows.is_empty() {
            let metrics = Arc::clone(&self.metrics);
            return Ok(Some((Transaction::new(connection, metrics), rows)));
        }
        let work = with_timeout(connection.client().batch_execute("ROLLBACK"));
        self.metrics.observe_statement("ROLLBACK", work).await?;
        connection.release();
        Ok(None)
    }

    /// Executes a statement in a transaction that is left open. Returns its rows.
    async fn execute(
        &self,
        sql: &str,
        params: &[Param<'_>],
        limit: TimeLimit,
    ) -> Result<(Connection, Vec<Row>), StoreError> {
        let connection = self.connection().await?;
        let client = connection.client();
        let begin = begin_within(limit.of_statement());
        let work = async {
            let responses = limit.apply(async {
                Ok(tokio::join!(
                    client.batch_execute(&begin),
                    client.query_typed(sql, params),
                ))
            });
            let (begun, rows) = responses.await?;
            Ok(begun.and(rows)?)
        };
        let executed = self.metrics.observe_statement(sql, work).await;
        let rows = executed.inspect_err(|error| self.discard_after(error))?;
        Ok((connection, rows))
    }

    /// Runs statements without parameters in order, on a connection and with a timeout of their
    /// own.
    pub(super) async fn batch(&self, sql: &str, limit: Duration) -> Result<(), StoreError> {
        let session = self.open_session().await?;
        let client = session.client();
        // Such statements take longer than those of requests.
        with_timeout(client.batch_execute("SET statement_timeout = DEFAULT")).await?;
        let done = timeout(limit, client.batch_execute(sql)).await;
        Ok(done.map_err(|_| StoreError::timeout())??)
    }

    /// Opens a session, and returns what the server's sessions may use.
    ///
    /// # Errors
    /// When the database does not respond within the limit.
    pub async fn session_kind(&self) -> Result<SessionKind, StoreError> {
        Ok(self.open_session().await?.kind())
    }

    /// Opens a session outside the pool, so that its holder takes none from requests.
    pub(super) async fn open_session(&self) -> Result<Session, StoreError> {
        let limit = self.pool.timeouts().create.unwrap_or(RESPONSE_TIMEOUT);
        let opened = timeout(limit, self.pool.manager().0.open()).await;
        opened.map_err(|_| StoreError::timeout())?
    }

    /// The permits to stream a result.
    pub(super) fn streamed_results(&self) -> Arc<Semaphore> {
        Arc::clone(&self.streamed_results)
    }
}

fn pool(connector: Connector, size: usize) -> Result<Pool, StoreError> {
    let create_timeout = connector.time_limit();
    Pool::builder(Manager(connector))
        .max_size(size)
        .wait_timeout(Some(POOL_WAIT))
        .create_timeout(Some(create_timeout))
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(|error| StoreError::Unavailable(error.to_string().into()))
}
