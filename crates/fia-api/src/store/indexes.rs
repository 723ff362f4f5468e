//! Indexes for databases of many jobs; nothing here depends on them.

use std::time::Duration;

use crate::store::{Db, StoreError};

/// The indexes of orders, filters and counts.
pub const INDEXES: &str = include_str!("indexes.sql");
/// The indexes of searches in texts, with the extension that they need.
pub const TEXT_INDEXES: &str = include_str!("text_indexes.sql");

/// How long one index may take.
const LIMIT: Duration = Duration::from_secs(3600);

/// A build that was broken off leaves an index that is kept up to date and never used. One that
/// another session is building looks the same, but for its progress.
const INVALID: &str = "SELECT indexrelid::regclass::text FROM pg_index \
     WHERE NOT indisvalid AND indexrelid::regclass::text LIKE 'fia\\_%' \
     AND indexrelid NOT IN (SELECT index_relid FROM pg_stat_progress_create_index)";

/// Creates the indexes that are missing, one after another, while the tables are in use.
/// Returns why there are none for searches in texts, where the extension cannot be had.
///
/// # Errors
/// When the database fails or the role may not create indexes.
pub async fn apply(db: &Db) -> Result<Option<StoreError>, StoreError> {
    for row in db.query(INVALID, &[]).await? {
        let name: String = row.try_get(0)?;
        let drop = format!("DROP INDEX CONCURRENTLY IF EXISTS {name}");
        db.batch(&drop, LIMIT).await?;
    }
    run(db, INDEXES).await?;
    match run(db, TEXT_INDEXES).await {
        Ok(()) => Ok(None),
        Err(error @ StoreError::Refused(_)) => Ok(Some(error)),
        Err(error) => Err(error),
    }
}

/// One statement at a time: none of these can stand in a transaction.
async fn run(db: &Db, sql: &str) -> Result<(), StoreError> {
    for statement in statements(sql) {
        db.batch(&statement, LIMIT).await?;
    }
    Ok(())
}

/// The statements of a text, each on lines of its own and ended by a semicolon.
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
    fn each_statement_stands_alone_and_can_be_repeated() {
        let all = [statements(INDEXES), statements(TEXT_INDEXES)].concat();
        assert_eq!(all.len(), 22);
        for statement in all {
            assert!(statement.starts_with("CREATE "), "{statement}");
            assert!(statement.contains(" IF NOT EXISTS "), "{statement}");
        }
    }
}
