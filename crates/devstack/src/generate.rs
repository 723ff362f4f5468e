//! Generated jobs for the demo and the benchmarks.

use crate::{Error, Postgres, Result};

/// Statements that add `:jobs` jobs, deterministically.
const GENERATE_SQL: &str = include_str!("../data/generate.sql");

/// Adds `jobs` jobs with their runs, owners and scripts to a database that contains the seed data.
/// A million takes minutes.
///
/// # Errors
/// [`Error::Database`].
pub async fn add_jobs(postgres: &Postgres, database: &str, jobs: u32) -> Result<()> {
    let client = postgres.connect(database).await?;
    let sql = GENERATE_SQL.replace(":jobs", &jobs.to_string());
    // Without fresh statistics the first queries are planned for nearly empty tables.
    for statements in [sql.as_str(), "VACUUM ANALYZE"] {
        let done = client.batch_execute(statements).await;
        done.map_err(|source| Error::Database {
            doing: "adding jobs".to_owned(),
            source,
        })?;
    }
    Ok(())
}
