//! What a job hangs on: found, or made.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha512};
use tokio_postgres::types::Type;

use crate::store::db::Param;
use crate::store::transaction::Sole;
use crate::store::{StoreError, Transaction};

/// A row that is there once at most, by a unique index.
struct Unique<'a> {
    find: &'static str,
    make: &'static str,
    key: Param<'a>,
}

impl Unique<'_> {
    async fn id(&self, transaction: &Transaction) -> Result<i32, StoreError> {
        let key = || [(self.key.0, self.key.1.clone())];
        // Looked for first: an attempt to make it would use up a number each time.
        if let Some(id) = transaction.value(self.find, &key()).await? {
            return Ok(id);
        }
        if let Some(id) = transaction.value(self.make, &key()).await? {
            return Ok(id);
        }
        // Another transaction made it meanwhile.
        let id = transaction.value(self.find, &key()).await?;
        id.ok_or_else(|| StoreError::Unavailable("a row came and went".into()))
    }
}

/// The owner that an experiment is.
pub(super) async fn experiment(
    transaction: &Transaction,
    experiment_number: i32,
) -> Result<i32, StoreError> {
    Unique {
        find: "SELECT id FROM job_owners WHERE experiment_number = $1",
        make: "INSERT INTO job_owners (experiment_number) VALUES ($1) \
               ON CONFLICT (experiment_number) DO NOTHING RETURNING id",
        key: (&experiment_number, Type::INT4),
    }
    .id(transaction)
    .await
}

/// The owner that a user is.
pub(super) async fn user(transaction: &Transaction, user_number: i32) -> Result<i32, StoreError> {
    Unique {
        find: "SELECT id FROM job_owners WHERE user_number = $1",
        make: "INSERT INTO job_owners (user_number) VALUES ($1) \
               ON CONFLICT (user_number) DO NOTHING RETURNING id",
        key: (&user_number, Type::INT4),
    }
    .id(transaction)
    .await
}

/// The instrument of exactly this name; a new one has no live data.
pub(super) async fn instrument(transaction: &Transaction, name: &str) -> Result<i32, StoreError> {
    Unique {
        find: "SELECT id FROM instruments WHERE instrument_name = $1",
        make: "INSERT INTO instruments (instrument_name, live_data_support) VALUES ($1, false) \
               ON CONFLICT (instrument_name) DO NOTHING RETURNING id",
        key: (&name, Type::TEXT),
    }
    .id(transaction)
    .await
}

/// The script of exactly this text. `sha` is the commit that a new one comes from.
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
    transaction.alone(Sole::ScriptWith(&hash)).await?;
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

/// An insert that gave no id: it cannot be.
pub(super) fn no_id() -> StoreError {
    StoreError::Refused("no id of a new row".into())
}

/// SHA-512 in hexadecimal digits.
fn hash(text: &str) -> String {
    let digest = Sha512::digest(text);
    digest.iter().fold(String::new(), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
