//! All triggers of this server: the statements that create them, and their installation.
//!
//! Each set of triggers is a file of SQL, which can be repeated, and has its own command
//! (`fia-api schema --change-feed`, `--lists`).

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::error::SqlState;

use crate::store::instruments::changing_columns;
use crate::store::{Db, StoreError};

/// The time limit to create triggers.
const INSTALL_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest pause between two attempts.
const PAUSE: Duration = Duration::from_millis(200);

/// The statements of the change feed, with placeholders for the columns.
const CHANGE_FEED: &str = include_str!("change_feed.sql");
/// The statements of the list table.
const JOB_LIST: &str = include_str!("job_list.sql");

/// A set of triggers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Triggers {
    /// Those of the change feed (see [`crate::store::ChangeFeed`]); they fire for every column that
    /// a cached read depends on.
    ChangeFeed,
    /// Those that keep the list table (see [`crate::store::list_table`]), with that table.
    ListTable,
}

impl Triggers {
    /// The statements that create them.
    #[must_use]
    pub fn statements(self) -> String {
        match self {
            Self::ChangeFeed => {
                let columns = |row: &str| {
                    let columns = changing_columns().map(|column| format!("{row}.{column}"));
                    columns.collect::<Vec<_>>().join(", ")
                };
                CHANGE_FEED
                    .replace("{old}", &columns("OLD"))
                    .replace("{new}", &columns("NEW"))
            }
            Self::ListTable => JOB_LIST.to_owned(),
        }
    }

    /// Creates them, or replaces them. Transactions of others that hold locks on the tables are
    /// waited for in short attempts, between which theirs proceed.
    ///
    /// # Errors
    /// When the database fails, a table does not exist or belongs to another role, or its locks are
    /// never free.
    pub async fn install(self, db: &Db) -> Result<(), StoreError> {
        let (sql, begun) = (self.statements(), Instant::now());
        let session = db.open_session().await?;
        let client = session.client();
        client
            .batch_execute("SET statement_timeout = DEFAULT")
            .await?;
        loop {
            let installed = timeout(INSTALL_TIMEOUT, client.batch_execute(&sql)).await;
            match installed.map_err(|_| StoreError::timeout())? {
                Ok(()) => return Ok(()),
                Err(error) if is_locked(&error) && begun.elapsed() < INSTALL_TIMEOUT => {
                    tracing::debug!(%error, "triggers: another attempt");
                }
                Err(error) => return Err(error.into()),
            }
            client.batch_execute("ROLLBACK").await?;
            sleep(PAUSE.mul_f64(rand::random_range(0.5..1.0))).await;
        }
    }
}

/// Whether a statement failed because of the locks of another transaction.
fn is_locked(error: &tokio_postgres::Error) -> bool {
    let of_locks = [
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::T_R_DEADLOCK_DETECTED,
    ];
    error.code().is_some_and(|code| of_locks.contains(code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::CachedColumn;

    #[test]
    fn the_change_feed_covers_every_cached_column() {
        let sql = Triggers::ChangeFeed.statements();
        assert!(!sql.contains(['{', '}']), "{sql}");
        for column in CachedColumn::ALL {
            let column = column.declaration().column;
            for row in ["OLD", "NEW"] {
                let part = format!("{row}.{column}");
                assert!(
                    sql.split([' ', ',', '(', ')']).any(|word| word == part),
                    "{part}"
                );
            }
        }
    }

    #[test]
    fn the_change_feed_is_stable() {
        assert_eq!(
            Triggers::ChangeFeed.statements(),
            include_str!("../../../tests/it/change_feed.sql")
        );
    }
}
