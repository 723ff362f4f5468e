//! The run of a data file.

use tokio_postgres::types::Type;

use crate::model::NewRun;
use crate::store::new_jobs::parts;
use crate::store::transaction::AdvisoryLock;
use crate::store::{Db, StoreError, Transaction};

/// A run in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownRun {
    /// Its id.
    pub id: i32,
    /// The id of its owner.
    pub owner_id: i32,
    /// The id of its instrument.
    pub instrument_id: i32,
    /// The name of its instrument.
    pub instrument: String,
}

/// Selects the oldest run of a file: old databases may hold several.
const FIND: &str = "SELECT runs.id, runs.owner_id, runs.instrument_id, instruments.instrument_name \
     FROM runs JOIN instruments ON instruments.id = runs.instrument_id \
     WHERE runs.filename = $1 ORDER BY runs.id LIMIT 1";

/// Returns the run of a data file, if it exists.
///
/// # Errors
/// When the database fails.
pub async fn run_of_file(db: &Db, filename: &str) -> Result<Option<KnownRun>, StoreError> {
    let rows = db.lookup(FIND, &[(&filename, Type::TEXT)]).await?;
    rows.first().map(known_run).transpose()
}

/// Returns the run of a data file. If it does not exist, inserts it with its instrument and owner.
///
/// # Errors
/// When the database fails.
pub async fn run_of(transaction: &Transaction, run: &NewRun) -> Result<KnownRun, StoreError> {
    if let Some(known) = find(transaction, &run.filename).await? {
        return Ok(known);
    }
    transaction.lock(AdvisoryLock::Run(&run.filename)).await?;
    if let Some(known) = find(transaction, &run.filename).await? {
        return Ok(known);
    }
    let instrument_id = parts::instrument(transaction, &run.instrument_name).await?;
    let owner_id = parts::experiment(transaction, run.rb_number.0).await?;
    let id = transaction
        .value(
            "INSERT INTO runs (filename, instrument_id, title, users, run_start, run_end, \
               good_frames, raw_frames, owner_id) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING id",
            &[
                (&run.filename, Type::TEXT),
                (&instrument_id, Type::INT4),
                (&run.title, Type::TEXT),
                (&run.users, Type::TEXT),
                (&run.run_start, Type::TIMESTAMP),
                (&run.run_end, Type::TIMESTAMP),
                (&run.good_frames, Type::INT4),
                (&run.raw_frames, Type::INT4),
                (&owner_id, Type::INT4),
            ],
        )
        .await?;
    Ok(KnownRun {
        id: id.ok_or_else(parts::no_id)?,
        owner_id,
        instrument_id,
        instrument: run.instrument_name.clone(),
    })
}

async fn find(transaction: &Transaction, filename: &str) -> Result<Option<KnownRun>, StoreError> {
    let rows = transaction.query(FIND, &[(&filename, Type::TEXT)]).await?;
    rows.first().map(known_run).transpose()
}

fn known_run(row: &tokio_postgres::Row) -> Result<KnownRun, StoreError> {
    Ok(KnownRun {
        id: row.try_get(0)?,
        owner_id: row.try_get(1)?,
        instrument_id: row.try_get(2)?,
        instrument: row.try_get(3)?,
    })
}
