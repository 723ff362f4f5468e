//! A transaction of several statements.

use sha2::{Digest as _, Sha256};
use tokio_postgres::Row;
use tokio_postgres::types::{FromSqlOwned, Type};

use crate::store::db::{BEGIN, Connection, Param, answer};
use crate::store::{Db, StoreError};

/// A transaction under way. Dropped without [`commit`](Self::commit), it leaves nothing behind.
pub struct Transaction {
    connection: Connection,
}

/// What only one transaction at a time may look for and then make, where no unique index sees
/// to it. They are taken in this order, so that no two wait for one another.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sole<'a> {
    /// The run of a file.
    RunOf(&'a str),
    /// The script with a hash.
    ScriptWith(&'a str),
}

impl Db {
    /// Begins a transaction.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin(&self) -> Result<Transaction, StoreError> {
        let connection = self.connection().await?;
        answer(connection.client().batch_execute(BEGIN)).await?;
        Ok(Transaction { connection })
    }
}

impl Transaction {
    /// Runs one statement.
    pub(super) async fn query(
        &self,
        sql: &str,
        params: &[Param<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        answer(self.connection.client().query_typed(sql, params)).await
    }

    /// Runs a statement that gives a value of one row, if any.
    pub(super) async fn value<T: FromSqlOwned>(
        &self,
        sql: &str,
        params: &[Param<'_>],
    ) -> Result<Option<T>, StoreError> {
        let rows = self.query(sql, params).await?;
        Ok(rows.first().map(|row| row.try_get(0)).transpose()?)
    }

    /// Waits until no other transaction makes the same; to be looked for after that.
    pub(super) async fn alone(&self, sole: Sole<'_>) -> Result<(), StoreError> {
        let key = sole.key();
        self.query("SELECT pg_advisory_xact_lock($1)", &[(&key, Type::INT8)])
            .await
            .map(drop)
    }

    /// Makes the changes last.
    ///
    /// # Errors
    /// When the database fails; the changes may have been made all the same.
    pub async fn commit(self) -> Result<(), StoreError> {
        answer(self.connection.client().batch_execute("COMMIT")).await?;
        self.connection.give_back();
        Ok(())
    }

    /// Takes the changes back, and spares the connection.
    pub async fn roll_back(self) {
        let ended = answer(self.connection.client().batch_execute("ROLLBACK")).await;
        match ended {
            Ok(()) => self.connection.give_back(),
            Err(error) => tracing::debug!(%error, "a transaction ended with its connection"),
        }
    }
}

impl Sole<'_> {
    /// Two names with one key would wait for each other in vain, and do no harm.
    fn key(self) -> i64 {
        let (kind, name) = match self {
            Self::RunOf(filename) => ("run:", filename),
            Self::ScriptWith(hash) => ("script:", hash),
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
