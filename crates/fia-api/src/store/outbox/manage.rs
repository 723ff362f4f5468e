//! Operations on single messages, for the command `fia-api outbox`.

use std::time::Duration;

use tokio_postgres::types::Type;

use crate::store::outbox::status::seconds;
use crate::store::{Db, StoreError};

/// A message in the outbox, without its body.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its id in the table.
    pub id: i64,
    /// Time since it was inserted.
    pub age: Duration,
    /// The exchange that it is published to.
    pub exchange: String,
    /// The id of the job that it announces, if any.
    pub job: Option<i64>,
    /// The size of its body in bytes.
    pub bytes: i64,
    /// Whether it waits, is in flight or parked.
    pub state: State,
    /// How often the broker has refused it.
    pub attempts: i32,
    /// The broker's last refusal.
    pub error: Option<String>,
}

/// The state of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// To be published, perhaps after a backoff.
    Waiting,
    /// Claimed by a replica.
    InFlight,
    /// To be retried or dropped by an operator.
    Parked,
}

/// A message that no replica publishes at present.
const NOT_IN_FLIGHT: &str = "claimed_by IS NULL \
    AND (attempts > 0 OR claimed_until IS NULL OR claimed_until < clock_timestamp())";

/// Lists up to `limit` messages, parked ones first, then the oldest.
///
/// # Errors
/// When the database fails.
pub async fn list(db: &Db, limit: usize) -> Result<Vec<Entry>, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    // Quotes within a script are escaped in the body, so only the member itself matches.
    let sql = format!(
        "SELECT id, extract(epoch FROM clock_timestamp() - created_at)::float8, queue, \
           substring(body FROM '\"job_id\": ([0-9]{{1,18}})')::int8, \
           octet_length(body)::int8, parked_at IS NOT NULL, {NOT_IN_FLIGHT}, attempts, error \
         FROM fia_api_outbox ORDER BY parked_at, id LIMIT $1"
    );
    let rows = db.query(&sql, &[(&limit, Type::INT8)]).await?;
    let entry = |row: &tokio_postgres::Row| {
        Ok(Entry {
            id: row.try_get(0)?,
            age: seconds(row.try_get(1)?),
            exchange: row.try_get(2)?,
            job: row.try_get(3)?,
            bytes: row.try_get(4)?,
            state: match (row.try_get(5)?, row.try_get(6)?) {
                (true, _) => State::Parked,
                (false, true) => State::Waiting,
                (false, false) => State::InFlight,
            },
            attempts: row.try_get(7)?,
            error: row.try_get(8)?,
        })
    };
    rows.iter().map(entry).collect()
}

/// Has a message published again at once, with all attempts before it. Returns whether there is
/// such a message that is not in flight.
///
/// # Errors
/// When the database fails.
pub async fn retry(db: &Db, id: i64) -> Result<bool, StoreError> {
    let sql = format!(
        "UPDATE fia_api_outbox SET attempts = 0, parked_at = NULL, claimed_until = NULL \
         WHERE id = $1 AND {NOT_IN_FLIGHT} RETURNING id"
    );
    let rows = db.write(&sql, &[(&id, Type::INT8)]).await?;
    Ok(!rows.is_empty())
}

/// Deletes a message: it will never be published. Returns whether there was such a message that
/// was not in flight.
///
/// # Errors
/// When the database fails.
pub async fn drop_message(db: &Db, id: i64) -> Result<bool, StoreError> {
    let sql = format!("DELETE FROM fia_api_outbox WHERE id = $1 AND {NOT_IN_FLIGHT} RETURNING id");
    let rows = db.write(&sql, &[(&id, Type::INT8)]).await?;
    Ok(!rows.is_empty())
}
