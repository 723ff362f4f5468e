//! The transactional outbox: messages to be published, in the table `fia_api_outbox`.
//!
//! A message is inserted in the transaction of its job. A relay claims it for a limited time and
//! deletes it when the broker has confirmed it: one process publishes it at a time, and another
//! one does so again if the first dies in between (at-least-once delivery).

use std::time::Duration;

use tokio_postgres::types::Type;

use crate::model::Message;
use crate::store::{Db, StoreError, Transaction};

/// Duration of a claim unless it is renewed.
pub const CLAIM: Duration = Duration::from_secs(15);

/// A message that only this process may publish until its claim expires.
#[derive(Debug)]
pub struct Claimed {
    /// Its id in the table.
    pub id: i64,
    /// The message to publish.
    pub message: Message,
    /// Time since it was inserted.
    pub age: Duration,
}

/// The messages in the outbox, claimed or not.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct Backlog {
    /// Number of messages.
    pub messages: u64,
    /// Age of the oldest message.
    pub oldest: Duration,
}

/// Checks that the table exists and this role may use it.
///
/// # Errors
/// When the database fails.
pub async fn exists(transaction: &Transaction) -> Result<bool, StoreError> {
    let exists = transaction
        .value(
            "SELECT count(*) = 4 FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) right_to \
             WHERE has_table_privilege(to_regclass('fia_api_outbox'), right_to)",
            &[],
        )
        .await?;
    Ok(exists.unwrap_or(false))
}

/// Adds a message to the transaction of its job.
///
/// # Errors
/// When the database fails.
pub async fn add(transaction: &Transaction, message: &Message) -> Result<(), StoreError> {
    transaction
        .query(
            "INSERT INTO fia_api_outbox (queue, body) VALUES ($1, $2)",
            &[(&message.queue, Type::TEXT), (&message.body, Type::TEXT)],
        )
        .await
        .map(drop)
}

/// Claims up to `limit` of the oldest unclaimed messages.
///
/// # Errors
/// When the database fails; some may be claimed until their claim expires.
pub async fn claim(db: &Db, limit: usize) -> Result<Vec<Claimed>, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = db
        .query(
            "WITH free AS MATERIALIZED ( \
               SELECT id FROM fia_api_outbox \
               WHERE claimed_until IS NULL OR claimed_until < clock_timestamp() \
               ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED \
             ) \
             UPDATE fia_api_outbox message \
             SET claimed_until = clock_timestamp() + $2 * interval '1 second' \
             FROM free WHERE message.id = free.id \
             RETURNING message.id, message.queue, message.body, \
               extract(epoch FROM clock_timestamp() - message.created_at)::float8",
            &[(&limit, Type::INT8), (&CLAIM.as_secs_f64(), Type::FLOAT8)],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Claimed {
                id: row.try_get(0)?,
                message: Message {
                    queue: row.try_get(1)?,
                    body: row.try_get(2)?,
                },
                age: seconds(row.try_get(3)?),
            })
        })
        .collect()
}

/// Renews the claims on these messages.
///
/// # Errors
/// When the database fails.
pub async fn renew(db: &Db, ids: &[i64]) -> Result<(), StoreError> {
    db.query(
        "UPDATE fia_api_outbox SET claimed_until = clock_timestamp() + $2 * interval '1 second' \
         WHERE id = ANY($1)",
        &[
            (&ids, Type::INT8_ARRAY),
            (&CLAIM.as_secs_f64(), Type::FLOAT8),
        ],
    )
    .await
    .map(drop)
}

/// Releases the claims on these messages, so that any process can claim them.
///
/// # Errors
/// When the database fails; the claims then expire by themselves.
pub async fn release(db: &Db, ids: &[i64]) -> Result<(), StoreError> {
    db.query(
        "UPDATE fia_api_outbox SET claimed_until = NULL WHERE id = ANY($1)",
        &[(&ids, Type::INT8_ARRAY)],
    )
    .await
    .map(drop)
}

/// Deletes messages that the broker has confirmed.
///
/// # Errors
/// When the database fails.
pub async fn delete(db: &Db, ids: &[i64]) -> Result<(), StoreError> {
    db.query(
        "DELETE FROM fia_api_outbox WHERE id = ANY($1)",
        &[(&ids, Type::INT8_ARRAY)],
    )
    .await
    .map(drop)
}

/// Counts the messages in the outbox.
///
/// # Errors
/// When the database fails.
pub async fn backlog(db: &Db) -> Result<Backlog, StoreError> {
    let rows = db
        .query(
            "SELECT count(*), \
               coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8 \
             FROM fia_api_outbox",
            &[],
        )
        .await?;
    let Some(row) = rows.first() else {
        return Ok(Backlog::default());
    };
    let (messages, oldest): (i64, f64) = (row.try_get(0)?, row.try_get(1)?);
    Ok(Backlog {
        messages: messages.unsigned_abs(),
        oldest: seconds(oldest),
    })
}

/// Converts an age; a negative one, of a clock that was set back, counts as zero.
fn seconds(age: f64) -> Duration {
    Duration::try_from_secs_f64(age).unwrap_or_default()
}
