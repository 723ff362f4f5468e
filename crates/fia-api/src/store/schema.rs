//! The tables, as the older server creates them.

use std::time::Duration;

use tokio_postgres::types::{ToSql, Type};

use crate::store::{Db, StoreError, outbox};

/// Statements that create missing tables, types and columns of the outbox, and change nothing else.
pub const TABLES: &str = include_str!("schema.sql");
/// The tables without which the server cannot serve.
const REQUIRED_TABLES: [&str; 5] = ["instruments", "job_owners", "scripts", "runs", "jobs"];
/// The table without which jobs are refused while RabbitMQ is unavailable.
const OUTBOX_TABLE: &str = "fia_api_outbox";
/// The time limit for schema statements.
const APPLY_TIMEOUT: Duration = Duration::from_secs(60);

/// Creates missing tables, types and columns of the outbox.
///
/// # Errors
/// When the database fails or the role may not create tables.
pub async fn apply(db: &Db) -> Result<(), StoreError> {
    db.batch(TABLES, APPLY_TIMEOUT).await
}

/// What [`inspect`] finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The server's version.
    pub version: String,
    /// Tables that are required and do not exist.
    pub missing_tables: Vec<&'static str>,
    /// Whether the outbox table exists, with all its columns.
    pub has_outbox: bool,
}

/// Reads the version of the server and which tables exist.
///
/// # Errors
/// When the database fails.
pub async fn inspect(db: &Db) -> Result<Inspection, StoreError> {
    let sql = "SELECT current_setting('server_version'), \
         ARRAY(SELECT name FROM unnest($1) AS name WHERE to_regclass(name) IS NULL), \
         (SELECT count(*) = cardinality($3) FROM pg_attribute \
          WHERE attrelid = to_regclass($2) AND attname = ANY($3) AND NOT attisdropped)";
    let (tables, columns): (&[&str], &[&str]) = (&REQUIRED_TABLES, &outbox::COLUMNS);
    let params = [
        (&tables as &(dyn ToSql + Sync), Type::TEXT_ARRAY),
        (&OUTBOX_TABLE, Type::TEXT),
        (&columns, Type::TEXT_ARRAY),
    ];
    let rows = db.query(sql, &params).await?;
    let row = rows
        .first()
        .ok_or(StoreError::Unavailable("no row".into()))?;
    let missing: Vec<String> = row.try_get(1)?;
    let is_missing = |table: &&str| missing.iter().any(|name| name == table);
    Ok(Inspection {
        version: row.try_get(0)?,
        missing_tables: REQUIRED_TABLES.into_iter().filter(is_missing).collect(),
        has_outbox: row.try_get(2)?,
    })
}
