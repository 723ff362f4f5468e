//! All triggers of this server: the statements that create them, and their installation.
//!
//! Each set of triggers is a file of SQL, which can be repeated, and has its own command
//! (`fia-api schema --change-feed`, `--lists`).

use std::time::Duration;

use crate::store::instruments::changing_columns;
use crate::store::{Db, StoreError};

/// The time limit to create triggers.
const INSTALL_TIMEOUT: Duration = Duration::from_secs(60);

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

    /// Creates them, or replaces them.
    ///
    /// # Errors
    /// When the database fails, or a table does not exist or belongs to another role.
    pub async fn install(self, db: &Db) -> Result<(), StoreError> {
        db.batch(&self.statements(), INSTALL_TIMEOUT).await
    }
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
