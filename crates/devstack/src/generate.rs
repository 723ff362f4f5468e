//! Generated jobs for the demo and the benchmarks.

use crate::{Error, Postgres, Result};

/// Statements that add `:jobs` jobs, deterministically.
const GENERATE_SQL: &str = include_str!("../data/generate.sql");

/// The shape of the generated data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distribution {
    /// The dates of runs and jobs are in the order of their ids.
    Ordered,
    /// As ordered, but ids and dates are independent.
    Shuffled,
    /// Ids and dates are independent, a few instruments and owners have nearly all jobs, one job in
    /// fifty is in another state than success, and jobs start up to 400 days after their run.
    Skewed,
    /// As skewed, with the instruments and owners by Zipf's law.
    Zipf,
}

impl Distribution {
    /// The expressions for the placeholders in the statements.
    fn expressions(self) -> [(&'static str, &'static str); 6] {
        let ordered = "n / (:jobs * 0.9 + 1)";
        let [squared, cubed, zipf] = [
            ("random() ^ 2 * instruments", "random() ^ 2 * owners"),
            ("random() ^ 3 * instruments", "random() ^ 3 * owners"),
            ("instruments ^ random() - 1", "owners ^ random() - 1"),
        ];
        let promptly = "(numbered.n % 3600)";
        let late = "floor(random() ^ 2 * 34560000)";
        let (position, order, (instrument, owner), states, delay) = match self {
            Self::Ordered => (ordered, "run_start", squared, "100", promptly),
            Self::Shuffled => ("random()", "id", squared, "100", promptly),
            Self::Skewed => ("random()", "id", cubed, "1000", late),
            Self::Zipf => ("random()", "id", zipf, "1000", late),
        };
        [
            ("{position}", position),
            ("{order}", order),
            ("{instrument}", instrument),
            ("{owner}", owner),
            ("{states}", states),
            ("{delay}", delay),
        ]
    }

    /// The statements that add jobs.
    fn statements(self, jobs: u32, seed: u32) -> String {
        let mut sql = GENERATE_SQL.to_owned();
        for (placeholder, expression) in self.expressions() {
            sql = sql.replace(placeholder, expression);
        }
        // PostgreSQL's seeds are between -1 and 1.
        let seed = f64::from(seed) / (f64::from(u32::MAX) + 1.0);
        sql.replace("{seed}", &seed.to_string())
            .replace(":jobs", &jobs.to_string())
    }
}

/// Adds `jobs` jobs with their runs, owners and scripts to a database that contains the seed data.
/// A million takes minutes.
///
/// # Errors
/// [`Error::Database`].
pub async fn add_jobs(postgres: &Postgres, database: &str, jobs: u32) -> Result<()> {
    add_distributed_jobs(postgres, database, jobs, Distribution::Ordered, 1).await
}

/// Adds jobs as [`add_jobs`] does, of the distribution and for the seed.
///
/// # Errors
/// [`Error::Database`].
pub async fn add_distributed_jobs(
    postgres: &Postgres,
    database: &str,
    jobs: u32,
    distribution: Distribution,
    seed: u32,
) -> Result<()> {
    let client = postgres.connect(database).await?;
    let sql = distribution.statements(jobs, seed);
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
