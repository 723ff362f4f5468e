//! A transaction that is yet to be committed.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tokio_postgres::types::{FromSqlOwned, Type};
use tokio_postgres::{Row, SimpleQueryMessage};

use crate::store::begin::{BEGIN, Param};
use crate::store::connection::Connection;
use crate::store::metrics::DatabaseMetrics;
use crate::store::retry::{Repeat, repeated};
use crate::store::timeout::with_timeout;
use crate::store::{Db, StoreError};

/// An open transaction, rolled back when dropped without `commit`.
///
/// After an error of its commit the changes may have been made: the response to `COMMIT` can be
/// lost.
pub struct Transaction {
    connection: Connection,
    metrics: Arc<DatabaseMetrics>,
}

/// A lock for rows that no unique index keeps unique: only its holder may look for such a row
/// and insert it. Transactions take them in this order, so that none deadlock.
#[derive(Debug, Clone, Copy)]
pub(super) enum AdvisoryLock<'a> {
    /// The run of a data file.
    Run(&'a str),
    /// The script with a hash.
    Script(&'a str),
}

impl Db {
    /// Begins a transaction, on a server that allows writes.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin(&self) -> Result<Transaction, StoreError> {
        repeated(Repeat::Always, || self.begin_once()).await
    }

    async fn begin_once(&self) -> Result<Transaction, StoreError> {
        let connection = self.connection().await?;
        let begin = format!("{BEGIN}; SHOW transaction_read_only");
        let metrics = Arc::clone(self.metrics());
        let begun = with_timeout(connection.client().simple_query(&begin));
        let begun = metrics.observe_statement("BEGIN", begun).await;
        let messages = begun.inspect_err(|error| self.discard_after(error))?;
        let is_read_only = messages.iter().any(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0) == Some("on"),
            _ => false,
        });
        if is_read_only {
            let error = StoreError::Failover("the server is read-only".into());
            self.discard_after(&error);
            return Err(error);
        }
        Ok(Transaction::new(connection, metrics))
    }
}

impl Transaction {
    pub(super) fn new(connection: Connection, metrics: Arc<DatabaseMetrics>) -> Self {
        Self {
            connection,
            metrics,
        }
    }

    /// Runs one statement.
    pub(super) async fn query(
        &self,
        sql: &str,
        params: &[Param<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        let work = with_timeout(self.connection.client().query_typed(sql, params));
        self.metrics.observe_statement(sql, work).await
    }

    /// Runs a statement and returns the first column of the first row, if any.
    pub(super) async fn value<T: FromSqlOwned>(
        &self,
        sql: &str,
        params: &[Param<'_>],
    ) -> Result<Option<T>, StoreError> {
        let rows = self.query(sql, params).await?;
        Ok(rows.first().map(|row| row.try_get(0)).transpose()?)
    }

    /// Waits for a lock and holds it until the transaction ends. Look for the row again after
    /// that: the previous holder may have inserted it.
    pub(super) async fn lock(&self, lock: AdvisoryLock<'_>) -> Result<(), StoreError> {
        let key = lock.key();
        self.query("SELECT pg_advisory_xact_lock($1)", &[(&key, Type::INT8)])
            .await
            .map(drop)
    }

    /// Rolls back and keeps the connection; dropping the transaction would close it.
    pub async fn roll_back(self) {
        let ended = with_timeout(self.connection.client().batch_execute("ROLLBACK")).await;
        match ended {
            Ok(()) => self.connection.release(),
            Err(error) => tracing::debug!(%error, "rollback failed: connection closed"),
        }
    }
}

impl tiercache::Transaction for Transaction {
    type Error = StoreError;

    async fn commit(self) -> Result<(), StoreError> {
        let commit = with_timeout(self.connection.client().batch_execute("COMMIT"));
        self.metrics.observe_statement("COMMIT", commit).await?;
        self.connection.release();
        Ok(())
    }
}

impl AdvisoryLock<'_> {
    /// A collision of two keys costs a needless wait and nothing else.
    fn key(self) -> i64 {
        let (kind, name) = match self {
            Self::Run(filename) => ("run:", filename),
            Self::Script(hash) => ("script:", hash),
        };
        let digest = Sha256::new()
            .chain_update(kind)
            .chain_update(name)
            .finalize();
        let mut key = [0; 8];
        key.copy_from_slice(&digest[..8]);
        i64::from_be_bytes(key)
    }
}
