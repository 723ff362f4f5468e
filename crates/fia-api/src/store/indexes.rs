//! Optional indexes for databases with many jobs.

use std::time::Duration;

use crate::store::{Db, StoreError};

/// Indexes for orders, filters and counts.
pub const INDEXES: &str = include_str!("indexes.sql");
/// Indexes for text searches, with the extension that they need.
pub const TEXT_INDEXES: &str = include_str!("text_indexes.sql");

/// Timeout for building one index.
const BUILD_TIMEOUT: Duration = Duration::from_secs(3600);

/// Indexes that an aborted build left behind: PostgreSQL maintains but never uses them. Those
/// that another session is building are excluded by their progress.
const INVALID: &str = "SELECT indexrelid::regclass::text FROM pg_index \
     WHERE NOT indisvalid AND indexrelid::regclass::text LIKE 'fia\\_%' \
     AND indexrelid NOT IN (SELECT index_relid FROM pg_stat_progress_create_index)";

/// Creates the missing indexes one after another without blocking writes. Returns the error if
/// the extension for text searches is unavailable and those indexes were skipped.
///
/// # Errors
/// When the database fails or the role may not create indexes.
pub async fn apply(db: &Db) -> Result<Option<StoreError>, StoreError> {
    build(db, INDEXES).await?;
    match run(db, TEXT_INDEXES).await {
        Ok(()) => Ok(None),
        Err(error @ StoreError::Refused(_)) => Ok(Some(error)),
        Err(error) => Err(error),
    }
}

/// Removes what aborted builds left behind, and creates the missing indexes of these statements.
pub(super) async fn build(db: &Db, sql: &str) -> Result<(), StoreError> {
    for row in db.query(INVALID, &[]).await? {
        let name: String = row.try_get(0)?;
        let drop = format!("DROP INDEX CONCURRENTLY IF EXISTS {name}");
        db.batch(&drop, BUILD_TIMEOUT).await?;
    }
    run(db, sql).await
}

/// Runs the statements one at a time: none of them can run in a transaction.
async fn run(db: &Db, sql: &str) -> Result<(), StoreError> {
    for statement in statements(sql) {
        db.batch(&statement, BUILD_TIMEOUT).await?;
    }
    Ok(())
}

/// Splits SQL into statements, which end with semicolons and start on new lines.
fn statements(sql: &str) -> Vec<String> {
    let lines = sql.lines().filter(|line| !line.starts_with("--"));
    let text = lines.collect::<Vec<_>>().join("\n");
    let statements = text.split(';').map(str::trim);
    statements
        .filter(|statement| !statement.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_split_and_idempotent() {
        let all = [statements(INDEXES), statements(TEXT_INDEXES)].concat();
        assert_eq!(all.len(), 27);
        for statement in all {
            let condition = match statement.split_once(' ') {
                Some(("CREATE", _)) => " IF NOT EXISTS ",
                Some(("DROP", _)) => " IF EXISTS ",
                _ => panic!("{statement}"),
            };
            assert!(statement.contains(condition), "{statement}");
        }
    }
}
