//! The transactional outbox: messages to be published, in the table `fia_api_outbox`.
//!
//! A message is inserted in the transaction of its job. A relay claims it, publishes it, and
//! deletes it when the broker has confirmed it: one process publishes it at a time, and another
//! one does so again if the first dies in between (at-least-once delivery).
//!
//! | state of a message | `claimed_by` | `claimed_until` | `parked_at` |
//! |---|---|---|---|
//! | waiting | – | – | – |
//! | in flight | id of the [`ClaimSession`] | expiry, renewed | – |
//! | refused by the broker, to be retried | – | time of the next attempt | – |
//! | parked | – | `infinity` | time of the last refusal |
//!
//! A claim whose session has ended is released by [`find_work`]. The expiry serves replicas of
//! earlier versions, which look at nothing else.

mod manage;
mod session;
mod status;

use std::time::Duration;

use tokio_postgres::types::Type;

use crate::model::Message;
use crate::store::{Db, StoreError, Transaction};

pub use manage::{Entry, State, drop_message, list, retry};
pub use session::ClaimSession;
pub(in crate::store) use status::COLUMNS;
pub use status::{Backlog, Work, backlog, exists, find_work};

/// Duration of a claim unless it is renewed, or its session ends before.
pub const CLAIM: Duration = Duration::from_secs(15);

/// A message that only this process may publish until its claim ends.
#[derive(Debug)]
pub struct Claimed {
    /// Its id in the table.
    pub id: i64,
    /// The message to publish.
    pub message: Message,
    /// Time since it was inserted.
    pub age: Duration,
    /// How often the broker has refused it.
    pub attempts: u32,
}

/// The consequence of a refusal by the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterRefusal {
    /// The message is published again after a delay.
    Retry(Duration),
    /// The message stays in the table until an operator retries or drops it.
    Park,
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

/// Claims up to `limit` of the oldest waiting messages, except those of the named queues. Without
/// a session the claims end only when they expire.
///
/// # Errors
/// When the database fails; some may be claimed until their claim ends.
pub async fn claim(
    db: &Db,
    session: Option<i64>,
    limit: usize,
    except: &[String],
) -> Result<Vec<Claimed>, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = db
        .write(
            "WITH free AS MATERIALIZED ( \
               SELECT id FROM fia_api_outbox \
               WHERE (claimed_until IS NULL OR claimed_until < clock_timestamp()) \
                 AND queue <> ALL($4) \
               ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED \
             ) \
             UPDATE fia_api_outbox message \
             SET claimed_until = clock_timestamp() + $2 * interval '1 second', claimed_by = $3 \
             FROM free WHERE message.id = free.id \
             RETURNING message.id, message.queue, message.body, \
               extract(epoch FROM clock_timestamp() - message.created_at)::float8, \
               message.attempts",
            &[
                (&limit, Type::INT8),
                (&CLAIM.as_secs_f64(), Type::FLOAT8),
                (&session, Type::INT8),
                (&except, Type::TEXT_ARRAY),
            ],
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
                age: status::seconds(row.try_get(3)?),
                attempts: row.try_get::<_, i32>(4)?.unsigned_abs(),
            })
        })
        .collect()
}

/// Renews the claims on these messages, and moves them from one session to another. Claims that
/// another process has taken over are left alone.
///
/// # Errors
/// When the database fails.
pub async fn renew(
    db: &Db,
    ids: &[i64],
    from: Option<i64>,
    to: Option<i64>,
) -> Result<(), StoreError> {
    db.write(
        "UPDATE fia_api_outbox \
         SET claimed_until = clock_timestamp() + $2 * interval '1 second', claimed_by = $4 \
         WHERE id = ANY($1) AND claimed_by IS NOT DISTINCT FROM $3",
        &[
            (&ids, Type::INT8_ARRAY),
            (&CLAIM.as_secs_f64(), Type::FLOAT8),
            (&from, Type::INT8),
            (&to, Type::INT8),
        ],
    )
    .await
    .map(drop)
}

/// Releases the claims of a session on these messages, so that any process can claim them.
///
/// # Errors
/// When the database fails; the claims then end by themselves.
pub async fn release(db: &Db, ids: &[i64], session: Option<i64>) -> Result<(), StoreError> {
    db.write(
        "UPDATE fia_api_outbox SET claimed_until = NULL, claimed_by = NULL \
         WHERE id = ANY($1) AND claimed_by IS NOT DISTINCT FROM $2",
        &[(&ids, Type::INT8_ARRAY), (&session, Type::INT8)],
    )
    .await
    .map(drop)
}

/// Deletes messages that the broker has confirmed.
///
/// # Errors
/// When the database fails.
pub async fn delete(db: &Db, ids: &[i64]) -> Result<(), StoreError> {
    db.write(
        "DELETE FROM fia_api_outbox WHERE id = ANY($1)",
        &[(&ids, Type::INT8_ARRAY)],
    )
    .await
    .map(drop)
}

/// Records that the broker refused a message, and ends its claim.
///
/// # Errors
/// When the database fails; the claim then ends by itself, and the refusal is not counted.
pub async fn refuse(
    db: &Db,
    id: i64,
    session: Option<i64>,
    error: &str,
    after: AfterRefusal,
) -> Result<(), StoreError> {
    let delay = match after {
        AfterRefusal::Retry(delay) => Some(delay.as_secs_f64()),
        AfterRefusal::Park => None,
    };
    db.write(
        "UPDATE fia_api_outbox \
         SET attempts = attempts + 1, error = $3, claimed_by = NULL, \
           claimed_until = coalesce(clock_timestamp() + $4 * interval '1 second', 'infinity'), \
           parked_at = CASE WHEN $4 IS NULL THEN clock_timestamp() END \
         WHERE id = $1 AND claimed_by IS NOT DISTINCT FROM $2",
        &[
            (&id, Type::INT8),
            (&session, Type::INT8),
            (&error, Type::TEXT),
            (&delay, Type::FLOAT8),
        ],
    )
    .await
    .map(drop)
}
