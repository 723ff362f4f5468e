//! Plausible jobs, as many as wanted.

use crate::{Error, Postgres, Result};

/// Statements that add `:jobs` jobs, the same ones every time.
const GENERATE_SQL: &str = include_str!("../data/generate.sql");

/// Adds jobs, with the runs, owners and scripts that belong to them, to a database of the seed
/// data. A million takes minutes.
///
/// # Errors
/// [`Error`] when the database fails.
pub async fn add_jobs(postgres: &Postgres, database: &str, jobs: u32) -> Result<()> {
    let client = postgres.connect(database).await?;
    let sql = GENERATE_SQL.replace(":jobs", &jobs.to_string());
    // Fresh statistics, or the first queries are planned for an empty table.
    for statements in [sql.as_str(), "VACUUM ANALYZE"] {
        let done = client.batch_execute(statements).await;
        done.map_err(|source| Error::Database {
            doing: "adding jobs".to_owned(),
            source,
        })?;
    }
    Ok(())
}
