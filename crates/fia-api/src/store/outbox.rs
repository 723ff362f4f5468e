//! Messages that wait to be published: the table `fia_api_outbox`.
//!
//! A message is written in the transaction of its job. Whoever publishes it claims it first,
//! for a while, and deletes it once the broker has confirmed it: so it is published by one
//! process at a time, and again if that one dies in between.

use std::time::Duration;

use tokio_postgres::types::Type;

use crate::model::Message;
use crate::store::{Db, StoreError, Transaction};

/// How long a claim lasts unless it is renewed.
pub const CLAIM: Duration = Duration::from_secs(15);

/// A message that this process alone may publish for now.
#[derive(Debug)]
pub struct Claimed {
    /// Its number in the table.
    pub id: i64,
    /// What is to be published.
    pub message: Message,
    /// How long it has waited.
    pub age: Duration,
}

/// What waits, claimed or not.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct Backlog {
    /// How many messages.
    pub messages: u64,
    /// The age of the oldest.
    pub oldest: Duration,
}

/// Whether there is such a table, and this role may use it.
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

/// Claims the oldest messages that nobody has, up to so many.
///
/// # Errors
/// When the database fails; some may be claimed all the same, until their claim lapses.
pub async fn claim(db: &Db, most: usize) -> Result<Vec<Claimed>, StoreError> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
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
            &[(&most, Type::INT8), (&CLAIM.as_secs_f64(), Type::FLOAT8)],
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

/// Lets the claims on these messages last anew.
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

/// Gives the claims on these messages up: they wait for the next who publishes.
///
/// # Errors
/// When the database fails; the claims lapse by themselves.
pub async fn release(db: &Db, ids: &[i64]) -> Result<(), StoreError> {
    db.query(
        "UPDATE fia_api_outbox SET claimed_until = NULL WHERE id = ANY($1)",
        &[(&ids, Type::INT8_ARRAY)],
    )
    .await
    .map(drop)
}

/// Deletes messages that the broker has.
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

/// How much waits, and for how long.
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

/// A clock that was set back makes no age negative.
fn seconds(age: f64) -> Duration {
    Duration::try_from_secs_f64(age).unwrap_or_default()
}
