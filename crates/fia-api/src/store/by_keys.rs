//! Reads of two statements: one selects keys, the other one reads the rows of these keys.
//!
//! The first is planned for its values each time, which is quick for the few tables that it reads. If
//! it reads a part of them only, and selects too few keys, others follow. The last joins more tables,
//! but is the same for all keys, so that the server keeps its plan. All read one state of the database:
//! `BEGIN` is sent with the first, `COMMIT` with the last.

use std::ops::ControlFlow;

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

/// A statement that selects keys, the first column of its rows (`int4`).
pub(super) trait KeyStatement: Sized {
    fn sql(&self) -> &str;

    fn params(&self) -> Vec<Param<'_>>;

    /// Returns the keys to read, of those that were selected, or the statement to select them with.
    fn after(self, selected: Vec<i32>) -> ControlFlow<Vec<i32>, Self>;
}

impl Db {
    /// Selects keys, and returns the rows of `of_keys`, a statement with the array of the keys as its
    /// only parameter.
    pub(super) async fn query_by_keys<K: KeyStatement>(
        &self,
        first: impl Fn() -> K,
        of_keys: &str,
    ) -> Result<Vec<Row>, StoreError> {
        repeated(Repeat::Always, || self.query_by_keys_once(&first, of_keys)).await
    }

    async fn query_by_keys_once<K: KeyStatement>(
        &self,
        first: impl Fn() -> K,
        of_keys: &str,
    ) -> Result<Vec<Row>, StoreError> {
        let connection = self.connection().await?;
        let statement = first();
        let sql = statement.sql().to_owned();
        let work = async {
            let session = connection.session();
            let mut reply = with_timeout(read(session, statement, of_keys)).await?;
            if reply.as_ref().is_err_and(is_forgotten) {
                session.statements().clear();
                reply = with_timeout(read(session, first(), of_keys)).await?;
            }
            connection.release();
            Ok(reply?)
        };
        let rows = self.metrics.observe_statement(&sql, work).await;
        rows.inspect_err(|error| self.discard_after(error))
    }
}

/// # Errors
/// When the transaction was not ended.
async fn read<K: KeyStatement>(
    session: &Session,
    mut statement: K,
    of_keys: &str,
) -> Result<Reply, Error> {
    let client = session.client();
    let begin = match session.kind() {
        SessionKind::Direct => BEGIN_SNAPSHOT_DIRECT,
        SessionKind::PooledWithStatements | SessionKind::Pooled => BEGIN_SNAPSHOT,
    };
    let (begun, selected) = tokio::join!(client.batch_execute(begin), select(session, &statement));
    let mut selected = begun.and(selected);
    let keys = loop {
        let found = match selected {
            Ok(found) => found,
            Err(error) => return end(session, Err(error)).await,
        };
        match statement.after(found) {
            ControlFlow::Break(keys) => break keys,
            ControlFlow::Continue(next) => {
                selected = select(session, &next).await;
                statement = next;
            }
        }
    };
    if keys.is_empty() {
        return end(session, Ok(Vec::new())).await;
    }
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

async fn select<K: KeyStatement>(session: &Session, statement: &K) -> Result<Vec<i32>, Error> {
    let query = Query {
        sql: statement.sql(),
        params: &statement.params(),
        purpose: Purpose::Read,
    };
    let rows = query.rows(session).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

/// Ends the transaction after an error, or without rows.
async fn end(session: &Session, reply: Reply) -> Result<Reply, Error> {
    match session.client().batch_execute("ROLLBACK").await {
        Ok(()) => Ok(reply),
        Err(error) => Err(reply.err().unwrap_or(error)),
    }
}
