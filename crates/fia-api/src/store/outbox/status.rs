//! The state of the outbox as a whole.

use std::time::Duration;

use tokio_postgres::types::{ToSql, Type};

use crate::store::{Db, StoreError, Transaction};

/// The columns that the relay uses; `fia-api schema --apply` adds those that a table of an
/// earlier version lacks.
pub(in crate::store) const COLUMNS: [&str; 9] = [
    "id",
    "queue",
    "body",
    "created_at",
    "claimed_until",
    "claimed_by",
    "attempts",
    "error",
    "parked_at",
];

/// The messages in the outbox.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct Backlog {
    /// Number of messages to be published, in flight or not.
    pub messages: u64,
    /// Age of the oldest of them.
    pub oldest: Duration,
    /// Number of parked messages.
    pub parked: u64,
}

/// Checks that the table exists with all columns and this role may use it.
///
/// # Errors
/// When the database fails.
pub async fn exists(transaction: &Transaction) -> Result<bool, StoreError> {
    let columns: &[&str] = &COLUMNS;
    let exists = transaction
        .value(
            "SELECT (SELECT count(*) = 4 \
                     FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) right_to \
                     WHERE has_table_privilege(to_regclass('fia_api_outbox'), right_to)) \
                AND (SELECT count(*) = cardinality($1) FROM pg_attribute \
                     WHERE attrelid = to_regclass('fia_api_outbox') \
                       AND attname = ANY($1) AND NOT attisdropped)",
            &[(&columns, Type::TEXT_ARRAY)],
        )
        .await?;
    Ok(exists.unwrap_or(false))
}

/// What [`find_work`] found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Work {
    /// Some message can be claimed.
    pub is_claimable: bool,
    /// Sessions that have ended and left claims.
    pub ended_sessions: Vec<i64>,
}

/// Looks for messages that can be claimed, and for claims whose session has ended, except this
/// process's own. Claims of sessions that had ended the last time, too, are released: a live
/// process moves its claims to another session in that time.
///
/// # Errors
/// When the database fails.
pub async fn find_work(db: &Db, own: &[i64], ended_before: &[i64]) -> Result<Work, StoreError> {
    // The lock of a live session is not available. The id of an ended one is never used again, so
    // a claim that was moved meanwhile carries another.
    let sql = "WITH holders AS MATERIALIZED ( \
           SELECT DISTINCT claimed_by AS session FROM fia_api_outbox \
           WHERE claimed_by IS NOT NULL AND claimed_by <> ALL($1) \
         ), ended AS MATERIALIZED ( \
           SELECT session FROM holders WHERE pg_try_advisory_xact_lock_shared(session) \
         ), released AS ( \
           UPDATE fia_api_outbox message SET claimed_by = NULL, claimed_until = NULL \
           FROM ended WHERE message.claimed_by = ended.session AND ended.session = ANY($2) \
           RETURNING message.id \
         ) \
         SELECT EXISTS (SELECT FROM released) OR EXISTS ( \
             SELECT FROM fia_api_outbox \
             WHERE claimed_until IS NULL OR claimed_until < clock_timestamp() \
           ), ARRAY(SELECT session FROM ended)";
    let params = [
        (&own as &(dyn ToSql + Sync), Type::INT8_ARRAY),
        (&ended_before, Type::INT8_ARRAY),
    ];
    let rows = db.write(sql, &params).await?;
    let Some(row) = rows.first() else {
        return Ok(Work::default());
    };
    Ok(Work {
        is_claimable: row.try_get(0)?,
        ended_sessions: row.try_get(1)?,
    })
}

/// Counts the messages in the outbox.
///
/// # Errors
/// When the database fails.
pub async fn backlog(db: &Db) -> Result<Backlog, StoreError> {
    let rows = db
        .query(
            "SELECT count(*) FILTER (WHERE parked_at IS NULL), \
               coalesce(extract(epoch FROM clock_timestamp() \
                 - min(created_at) FILTER (WHERE parked_at IS NULL)), 0)::float8, \
               count(parked_at) \
             FROM fia_api_outbox",
            &[],
        )
        .await?;
    let Some(row) = rows.first() else {
        return Ok(Backlog::default());
    };
    let (messages, oldest, parked): (i64, f64, i64) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    Ok(Backlog {
        messages: messages.unsigned_abs(),
        oldest: seconds(oldest),
        parked: parked.unsigned_abs(),
    })
}

/// Converts an age; a negative one, of a clock that was set back, counts as zero.
pub(super) fn seconds(age: f64) -> Duration {
    Duration::try_from_secs_f64(age).unwrap_or_default()
}
