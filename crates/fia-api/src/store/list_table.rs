//! The list table: a row for each listed job, kept by triggers (`triggers/job_list.sql`).
//!
//! It is optional. [`apply`] creates it, [`verify`] compares it with its source, and `ListTable`
//! decides whether this server reads it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tokio_postgres::types::Type;

use crate::store::query::Purpose;
use crate::store::{Db, StoreError, Triggers, indexes};

/// The indexes of the table.
pub const INDEXES: &str = include_str!("triggers/job_list_indexes.sql");
/// The time limit of a batch that fills the table.
const BATCH_TIMEOUT: Duration = Duration::from_secs(60);
/// The time limit of work on the whole table.
const TABLE_TIMEOUT: Duration = Duration::from_secs(3600);
/// The job ids of a batch.
const BATCH: i32 = 5_000;
/// The attempts of a batch, of which another transaction may end each in a deadlock.
const ATTEMPTS: usize = 5;
/// The interval between checks.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// Completes the table only if it equals its source. The lock excludes transactions whose changes it
/// cannot see yet.
const COMPLETE: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; \
     SELECT FROM fia_api_job_list_state FOR UPDATE; \
     UPDATE fia_api_job_list_state SET is_complete = NOT EXISTS ({differences}); COMMIT";
const LAST_ID: &str =
    "SELECT greatest((SELECT max(id) FROM jobs), (SELECT max(id) FROM fia_api_job_list), 0)";
/// Whether the table exists, and all its triggers. It names no table that may be missing.
const EXISTS: &str = "SELECT to_regclass('fia_api_job_list_state') IS NOT NULL, ( \
       SELECT count(*) = 6 FROM pg_trigger \
       WHERE tgname LIKE 'fia\\_api\\_job\\_list\\_%' AND tgenabled IN ('O', 'A') \
       AND tgrelid IN (to_regclass('jobs'), to_regclass('runs'), to_regclass('job_owners')))";
/// Compares 200 ids with their source. A sample may begin before the first id, so that each job has the same
/// chance.
const SAMPLE: &str = "WITH part AS MATERIALIZED ( \
       SELECT floor(random() * ((SELECT max(id) FROM jobs) + 200))::int - 200 AS first) \
     SELECT is_complete, (SELECT count(*) FROM part, LATERAL ({differences}) different) \
     FROM fia_api_job_list_state";
const INVALIDATE: &str = "UPDATE fia_api_job_list_state SET is_complete = false";

/// Selects the rows of the table that differ from their source, of the jobs that `condition` selects.
fn differences(condition: &str) -> String {
    format!(
        "SELECT FROM (SELECT * FROM fia_api_job_list_source WHERE {condition}) source \
         FULL JOIN (SELECT * FROM fia_api_job_list WHERE {condition}) list ON list.id = source.id \
         WHERE (source.id, source.run_id, source.instrument_id, source.owner_id, \
           source.experiment_number, source.user_number, source.state, source.start, source.\"end\", \
           source.run_start, source.run_end) IS DISTINCT FROM \
           (list.id, list.run_id, list.instrument_id, list.owner_id, list.experiment_number, \
           list.user_number, list.state, list.start, list.\"end\", list.run_start, list.run_end)"
    )
}

/// Creates the table, its triggers and its indexes, fills it in batches while others write, and
/// repairs it. Returns the number of rows that were changed.
///
/// # Errors
/// When the database fails or the role does not own the tables.
pub async fn apply(db: &Db) -> Result<i64, StoreError> {
    Triggers::ListTable.install(db).await?;
    let changed = fill(db).await?;
    indexes::build(db, INDEXES).await?;
    db.batch("VACUUM ANALYZE fia_api_job_list", TABLE_TIMEOUT)
        .await?;
    let complete = COMPLETE.replace("{differences}", &differences("true"));
    db.batch(&complete, TABLE_TIMEOUT).await?;
    Ok(changed)
}

async fn fill(db: &Db) -> Result<i64, StoreError> {
    let session = db.open_session().await?;
    let client = session.client();
    client
        .batch_execute("SET statement_timeout = DEFAULT")
        .await?;
    let last: i32 = client.query_one(LAST_ID, &[]).await?.try_get(0)?;
    let mut changed = 0;
    let mut first = i32::MIN;
    let sql = "SELECT fia_api_job_list_fill_range($1, $2)";
    let mut end = 0;
    loop {
        let range = [(&first as _, Type::INT4), (&end as _, Type::INT4)];
        let mut attempt = 1;
        let row = loop {
            let filled = timeout(BATCH_TIMEOUT, client.query_typed(sql, &range)).await;
            match filled.map_err(|_| StoreError::timeout())? {
                Ok(row) => break row,
                Err(error) if attempt == ATTEMPTS => return Err(error.into()),
                Err(error) => tracing::debug!(%error, "batch is repeated"),
            }
            attempt += 1;
        };
        if let Some(row) = row.first() {
            changed += row.try_get::<_, i64>(0)?;
        }
        if end >= last {
            return Ok(changed);
        }
        first = end + 1;
        end = end.saturating_add(BATCH);
    }
}

/// The number of rows that differ from their source, in one snapshot.
///
/// # Errors
/// When the database fails or the table does not exist.
pub async fn verify(db: &Db) -> Result<i64, StoreError> {
    let session = db.open_session().await?;
    let client = session.client();
    client
        .batch_execute("SET statement_timeout = DEFAULT")
        .await?;
    let sql = format!("SELECT count(*) FROM ({}) different", differences("true"));
    let counted = timeout(TABLE_TIMEOUT, client.query_typed(&sql, &[])).await;
    let rows = counted.map_err(|_| StoreError::timeout())??;
    let row = rows.first().ok_or_else(StoreError::timeout)?;
    Ok(row.try_get(0)?)
}

/// Whether this server reads the table.
#[derive(Debug, Default)]
pub(super) struct ListTable(AtomicBool);

impl ListTable {
    pub(super) fn is_usable(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Sets whether the table is read; logs a change.
    pub(super) fn set(&self, is_usable: bool) {
        if self.0.swap(is_usable, Ordering::Relaxed) == is_usable {
            return;
        }
        if is_usable {
            tracing::info!("list table in use");
        } else {
            tracing::warn!(
                "list table missing or incomplete: lists of jobs are slower \
                 (run `fia-api schema --lists --apply`)"
            );
        }
    }
}

/// The background check of the table; ends when dropped.
pub struct ListTableWatch(AbortHandle);

impl ListTableWatch {
    /// Starts to check every 5 s whether the table exists with all its triggers, is complete, and
    /// equals its source in a random sample. Must be called within a Tokio runtime.
    #[must_use]
    pub fn start(db: Db) -> Self {
        let watching = async move {
            loop {
                match check(&db).await {
                    Ok(is_usable) => db.list_table.set(is_usable),
                    // The table is as correct as before.
                    Err(error) => tracing::debug!(%error, "list table not checked"),
                }
                sleep(CHECK_INTERVAL).await;
            }
        };
        Self(tokio::spawn(watching).abort_handle())
    }
}

impl Drop for ListTableWatch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn check(db: &Db) -> Result<bool, StoreError> {
    let rows = db.probe(EXISTS, Purpose::Read).await?;
    let Some(row) = rows.first() else {
        return Ok(false);
    };
    let (exists, has_triggers): (bool, bool) = (row.try_get(0)?, row.try_get(1)?);
    if exists && !has_triggers {
        // Changes may have been missed, even if the triggers are created again.
        db.probe(INVALIDATE, Purpose::Write).await?;
    }
    if !exists || !has_triggers {
        return Ok(false);
    }
    let part = differences("id BETWEEN first AND first + 200");
    let rows = db
        .query(&SAMPLE.replace("{differences}", &part), &[])
        .await?;
    let Some(row) = rows.first() else {
        return Ok(false);
    };
    let (is_complete, different): (bool, i64) = (row.try_get(0)?, row.try_get(1)?);
    if is_complete && different > 0 {
        tracing::warn!(different, "list table differs from its source");
        db.probe(INVALIDATE, Purpose::Write).await?;
    }
    Ok(is_complete && different == 0)
}
