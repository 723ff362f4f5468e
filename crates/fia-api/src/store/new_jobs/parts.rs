//! Rows that a job refers to, inserted if they do not exist.

use sha2::{Digest as _, Sha512};
use tokio_postgres::types::Type;

use crate::model::hex;
use crate::store::begin::Param;
use crate::store::transaction::AdvisoryLock;
use crate::store::{StoreError, Transaction};

/// A row that a unique index keeps unique.
struct UniqueRow<'a> {
    select: &'static str,
    insert: &'static str,
    key: Param<'a>,
}

impl UniqueRow<'_> {
    /// Returns the id of the row, which is inserted if it does not exist.
    async fn id(&self, transaction: &Transaction) -> Result<i32, StoreError> {
        let key = || [(self.key.0, self.key.1.clone())];
        // Select first: each attempt to insert would consume a value of the id sequence.
        if let Some(id) = transaction.value(self.select, &key()).await? {
            return Ok(id);
        }
        if let Some(id) = transaction.value(self.insert, &key()).await? {
            return Ok(id);
        }
        // Another transaction inserted it in the meantime.
        let id = transaction.value(self.select, &key()).await?;
        id.ok_or_else(|| {
            StoreError::Unavailable("a row was inserted and deleted concurrently".into())
        })
    }
}

/// Returns the id of the owner that stands for an experiment.
pub(super) async fn experiment(
    transaction: &Transaction,
    experiment_number: i32,
) -> Result<i32, StoreError> {
    UniqueRow {
        select: "SELECT id FROM job_owners WHERE experiment_number = $1",
        insert: "INSERT INTO job_owners (experiment_number) VALUES ($1) \
               ON CONFLICT (experiment_number) DO NOTHING RETURNING id",
        key: (&experiment_number, Type::INT4),
    }
    .id(transaction)
    .await
}

/// Returns the id of the owner that stands for a user.
pub(super) async fn user(transaction: &Transaction, user_number: i32) -> Result<i32, StoreError> {
    UniqueRow {
        select: "SELECT id FROM job_owners WHERE user_number = $1",
        insert: "INSERT INTO job_owners (user_number) VALUES ($1) \
               ON CONFLICT (user_number) DO NOTHING RETURNING id",
        key: (&user_number, Type::INT4),
    }
    .id(transaction)
    .await
}

/// Returns the id of the instrument of exactly this name; a new one has no live data.
pub(super) async fn instrument(transaction: &Transaction, name: &str) -> Result<i32, StoreError> {
    UniqueRow {
        select: "SELECT id FROM instruments WHERE instrument_name = $1",
        insert: "INSERT INTO instruments (instrument_name, live_data_support) VALUES ($1, false) \
               ON CONFLICT (instrument_name) DO NOTHING RETURNING id",
        key: (&name, Type::TEXT),
    }
    .id(transaction)
    .await
}

/// Returns the id of the script of exactly this text. `sha` is the commit of a new one.
pub(super) async fn script(
    transaction: &Transaction,
    text: &str,
    sha: Option<&str>,
) -> Result<i32, StoreError> {
    const FIND: &str = "SELECT min(id) FROM scripts WHERE script_hash = $1";
    let hash = hash(text);
    let key = [(&hash as _, Type::TEXT)];
    if let Some(Some(id)) = transaction.value(FIND, &key).await? {
        return Ok(id);
    }
    transaction.lock(AdvisoryLock::Script(&hash)).await?;
    if let Some(Some(id)) = transaction.value(FIND, &key).await? {
        return Ok(id);
    }
    let id = transaction
        .value(
            "INSERT INTO scripts (script, sha, script_hash) VALUES ($1, $2, $3) RETURNING id",
            &[(&text, Type::TEXT), (&sha, Type::TEXT), (&hash, Type::TEXT)],
        )
        .await?;
    id.ok_or_else(no_id)
}

/// The error of an insert without a returned id, which cannot happen.
pub(super) fn no_id() -> StoreError {
    StoreError::Refused("an insert returned no id".into())
}

/// Returns the SHA-512 digest in hexadecimal.
fn hash(text: &str) -> String {
    hex(&Sha512::digest(text))
}
