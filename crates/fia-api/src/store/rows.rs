//! Long answers, read row by row.

use std::pin::Pin;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_postgres::{Row, RowStream};

use crate::store::db::{Connection, Param};
use crate::store::{Db, StoreError};

/// How long the whole may take: a gateway cuts it off after 15 s.
const WHOLE: Duration = Duration::from_secs(14);
/// How long to wait for one's turn.
const TURN: Duration = Duration::from_millis(500);

/// As for a short statement (see `db.rs`), with a limit of its own. All rows are wanted, but the
/// first ones soon, and none are to be sorted in bulk: so the planner is kept from hash and
/// merge joins, which would first read whole tables.
const BEGIN: &str = "BEGIN READ ONLY; SET LOCAL statement_timeout = 14000; \
     SET LOCAL jit = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; \
     SET LOCAL idle_in_transaction_session_timeout = 14000";

/// An answer under way. What has not been read waits at the server: the driver takes no more
/// rows off the connection than are asked for.
pub(super) struct Rows {
    rows: Pin<Box<RowStream>>,
    connection: Connection,
    deadline: Instant,
    _turn: OwnedSemaphorePermit,
}

impl Rows {
    /// Runs a reading statement. The connection is closed where the answer is not read to its
    /// end.
    pub(super) async fn open(db: &Db, sql: &str, params: &[Param<'_>]) -> Result<Self, StoreError> {
        let turn = timeout(TURN, db.long_answers().acquire_owned()).await;
        let turn = turn.ok().and_then(Result::ok).ok_or(StoreError::Busy)?;
        let connection = db.connection().await?;
        let deadline = Instant::now() + WHOLE;
        let client = connection.client();
        let opening = async {
            tokio::join!(
                client.batch_execute(BEGIN),
                client.query_typed_raw(sql, params.iter().cloned()),
            )
        };
        let (begun, rows) = timeout_at(deadline, opening).await.map_err(late)?;
        begun?;
        Ok(Self {
            rows: Box::pin(rows?),
            connection,
            deadline,
            _turn: turn,
        })
    }

    /// The next row.
    pub(super) async fn next(&mut self) -> Result<Option<Row>, StoreError> {
        let next = timeout_at(self.deadline, self.rows.try_next()).await;
        Ok(next.map_err(late)??)
    }

    /// Ends the transaction after the last row.
    pub(super) async fn close(self) -> Result<(), StoreError> {
        let end = self.connection.client().batch_execute("COMMIT");
        timeout_at(self.deadline, end).await.map_err(late)??;
        self.connection.give_back();
        Ok(())
    }
}

fn late(_: tokio::time::error::Elapsed) -> StoreError {
    StoreError::Unavailable("a long answer took too long".into())
}
