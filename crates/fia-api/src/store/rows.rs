//! Large results, streamed row by row.

use std::pin::Pin;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_postgres::{Row, RowStream};

use crate::store::begin::Param;
use crate::store::connection::Connection;
use crate::store::retry::{Repeat, repeated};
use crate::store::{Db, StoreError};

/// Timeout for the whole result: the gateway cuts a response off after 15 s.
const RESULT_TIMEOUT: Duration = Duration::from_secs(14);
/// Maximum wait for a permit to stream.
const PERMIT_TIMEOUT: Duration = Duration::from_millis(500);

/// As for a short statement (see `begin.rs`), with a longer timeout. The first rows are needed
/// soon, so the planner may not use hash and merge joins, which read whole tables first.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED, READ ONLY; SET LOCAL statement_timeout = 14000; \
     SET LOCAL jit = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; \
     SET LOCAL idle_in_transaction_session_timeout = 14000";

/// A result that is being streamed. Backpressure: unread rows stay at the server, as the driver
/// reads no more from the connection than is consumed.
pub(super) struct Rows {
    rows: Pin<Box<RowStream>>,
    connection: Connection,
    deadline: Instant,
    _permit: OwnedSemaphorePermit,
}

impl Rows {
    /// Runs a read-only statement. The connection is closed if the result is not read to its
    /// end.
    pub(super) async fn open(db: &Db, sql: &str, params: &[Param<'_>]) -> Result<Self, StoreError> {
        let permit = timeout(PERMIT_TIMEOUT, db.streamed_results().acquire_owned()).await;
        let permit = permit.ok().and_then(Result::ok).ok_or(StoreError::Busy)?;
        let started = repeated(Repeat::Always, || Self::start(db, sql, params));
        let (rows, connection, deadline) = started.await?;
        Ok(Self {
            rows: Box::pin(rows),
            connection,
            deadline,
            _permit: permit,
        })
    }

    async fn start(
        db: &Db,
        sql: &str,
        params: &[Param<'_>],
    ) -> Result<(RowStream, Connection, Instant), StoreError> {
        let mut connection = db.connection().await?;
        connection.mark_as_stream();
        let metrics = db.metrics();
        let deadline = Instant::now() + RESULT_TIMEOUT;
        let client = connection.client();
        let opening = async {
            tokio::join!(
                client.batch_execute(BEGIN),
                client.query_typed_raw(sql, params.iter().cloned()),
            )
        };
        let work = async {
            let (begun, rows) = timeout_at(deadline, opening).await.map_err(timed_out)?;
            Ok(begun.and(rows)?)
        };
        let rows = metrics.observe_statement(sql, work).await;
        let rows = rows.inspect_err(|error| db.discard_after(error))?;
        Ok((rows, connection, deadline))
    }

    /// The next row.
    pub(super) async fn next(&mut self) -> Result<Option<Row>, StoreError> {
        let next = timeout_at(self.deadline, self.rows.try_next()).await;
        Ok(next.map_err(timed_out)??)
    }

    /// Ends the transaction after the last row.
    pub(super) async fn close(self) -> Result<(), StoreError> {
        let end = self.connection.client().batch_execute("COMMIT");
        timeout_at(self.deadline, end).await.map_err(timed_out)??;
        self.connection.release();
        Ok(())
    }
}

fn timed_out(_: tokio::time::error::Elapsed) -> StoreError {
    StoreError::Unavailable("the result took too long to stream".into())
}
