//! Reads of two statements: one selects keys, the other one reads the rows of these keys.
//!
//! The first is planned for its values each time, which is quick for the few tables that it reads.
//! The second joins more tables, but is the same for all keys, so that the server keeps its plan.
//! Both read one state of the database: `BEGIN` is sent with the first, `COMMIT` with the second.

use tokio_postgres::types::Type;
use tokio_postgres::{Error, Row};

use crate::store::begin::{BEGIN_SNAPSHOT, BEGIN_SNAPSHOT_DIRECT, Param};
use crate::store::query::{Purpose, Query};
use crate::store::retry::{Repeat, repeated};
use crate::store::session::{Session, SessionKind};
use crate::store::statements::is_forgotten;
use crate::store::timeout::with_timeout;
use crate::store::{Db, StoreError};

/// The rows, or the error reply of the server. The session is idle after it.
type Reply = Result<Vec<Row>, Error>;

impl Db {
    /// Selects keys with `sql`, whose first column they are (`int4`), and returns the rows of
    /// `of_keys`, a statement with the array of the keys as its only parameter.
    pub(super) async fn query_by_keys(
        &self,
        sql: &str,
        params: &[Param<'_>],
        of_keys: &str,
    ) -> Result<Vec<Row>, StoreError> {
        let keys = Query {
            sql,
            params,
            purpose: Purpose::Read,
        };
        repeated(Repeat::Always, || self.query_by_keys_once(keys, of_keys)).await
    }

    async fn query_by_keys_once(
        &self,
        keys: Query<'_>,
        of_keys: &str,
    ) -> Result<Vec<Row>, StoreError> {
        let connection = self.connection().await?;
        let work = async {
            let session = connection.session();
            let mut reply = with_timeout(read(session, keys, of_keys)).await?;
            if reply.as_ref().is_err_and(is_forgotten) {
                session.statements().clear();
                reply = with_timeout(read(session, keys, of_keys)).await?;
            }
            connection.release();
            Ok(reply?)
        };
        let rows = self.metrics.observe_statement(keys.sql, work).await;
        rows.inspect_err(|error| self.discard_after(error))
    }
}

/// # Errors
/// When the transaction was not ended.
async fn read(session: &Session, keys: Query<'_>, of_keys: &str) -> Result<Reply, Error> {
    let client = session.client();
    let begin = match session.kind() {
        SessionKind::Direct => BEGIN_SNAPSHOT_DIRECT,
        SessionKind::PooledWithStatements | SessionKind::Pooled => BEGIN_SNAPSHOT,
    };
    let (begun, found) = tokio::join!(client.batch_execute(begin), keys.rows(session));
    let keys = begun.and(found).and_then(|found| {
        let keys = found.iter().map(|row| row.try_get(0));
        keys.collect::<Result<Vec<i32>, Error>>()
    });
    let keys = match keys {
        Ok(keys) if !keys.is_empty() => keys,
        keys => return end(session, keys.map(|_| Vec::new())).await,
    };
    let rows = Query {
        sql: of_keys,
        params: &[(&keys, Type::INT4_ARRAY)],
        purpose: Purpose::Lookup,
    };
    if rows.is_named(session) {
        // Before `COMMIT` is sent.
        if let Err(error) = rows.prepare(session).await {
            return end(session, Err(error)).await;
        }
    }
    let (rows, ended) = tokio::join!(rows.rows(session), client.batch_execute("COMMIT"));
    ended?;
    Ok(rows)
}

/// Ends the transaction after an error, or without rows.
async fn end(session: &Session, reply: Reply) -> Result<Reply, Error> {
    match session.client().batch_execute("ROLLBACK").await {
        Ok(()) => Ok(reply),
        Err(error) => Err(reply.err().unwrap_or(error)),
    }
}
