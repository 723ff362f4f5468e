//! Whether the database has the triggers of the change feed.

use tokio_postgres::SimpleQueryMessage;

use crate::store::instruments::changing_columns;

/// The definitions of the triggers on updates, of instruments and of jobs; NULL without one.
pub(super) const TRIGGERS: &str = "SELECT (SELECT pg_get_triggerdef(oid) FROM pg_trigger \
     WHERE tgrelid = to_regclass('instruments') AND tgname = 'fia_api_instruments_value'), \
     (SELECT pg_get_triggerdef(oid) FROM pg_trigger \
     WHERE tgrelid = to_regclass('jobs') AND tgname = 'fia_api_jobs_update')";

/// Warns where a trigger is missing, or is an older one that lacks columns.
pub(super) fn warn_of_triggers(rows: &[SimpleQueryMessage]) {
    let definition = |column| {
        rows.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(column),
            _ => None,
        })
    };
    if definition(1).is_none() {
        tracing::warn!(
            "change feed trigger on jobs missing: changes of jobs by other clients become visible \
             after the TTL (run `fia-api schema --change-feed --apply`)"
        );
    }
    let missing = uncovered_columns(definition(0).unwrap_or_default());
    if !missing.is_empty() {
        tracing::warn!(
            columns = %missing.join(","),
            "change feed trigger missing or outdated: changes of these columns by other clients \
             become visible after the TTL (run `fia-api schema --change-feed --apply`)"
        );
    }
}

/// The columns of cached reads that a trigger's definition does not compare.
fn uncovered_columns(definition: &str) -> Vec<&'static str> {
    let is_separator = |c: char| !(c.is_alphanumeric() || c == '_' || c == '.');
    let words: Vec<&str> = definition.split(is_separator).collect();
    let is_covered = |column: &&str| {
        let reference = format!("new.{column}");
        words
            .iter()
            .any(|word| word.eq_ignore_ascii_case(&reference))
    };
    changing_columns()
        .filter(|column| !is_covered(column))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Triggers;

    #[test]
    fn the_generated_trigger_covers_all_columns_and_an_older_one_does_not() {
        assert!(uncovered_columns(&Triggers::ChangeFeed.statements()).is_empty());
        let older = "WHEN (((old.instrument_name, old.latest_run)::record IS DISTINCT FROM \
             (new.instrument_name, new.latest_run_number)))";
        assert_eq!(
            uncovered_columns(older),
            [
                "latest_run",
                "specification",
                "live_data_script",
                "live_data_support"
            ]
        );
        assert_eq!(uncovered_columns("").len(), changing_columns().count());
    }
}
