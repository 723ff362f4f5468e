//! How many jobs there are.

use crate::model::Selection;
use crate::store::db::BEGIN;
use crate::store::jobs::selection::{HAS_RUN, Selected};
use crate::store::{Db, StoreError};

/// A count that joins many rows, and searches no texts, reads two indexes side by side. To look each row up in a hash
/// table takes twice as long, as the rows of a large one are found in main memory only; and the
/// indexes that are read are in memory as a rule.
const SETTINGS: &str = "; SET LOCAL enable_hashjoin = off; SET LOCAL random_page_cost = 1.1; \
     SET LOCAL work_mem = '32MB'";

/// How many runs are looked at to know whether a condition leaves most of them.
const SAMPLE: u32 = 64;

/// Counts jobs.
///
/// # Errors
/// [`StoreError::BadValue`] where a filter's text is no moment; else when the database fails.
pub async fn count(db: &Db, selection: &Selection) -> Result<i64, StoreError> {
    let selected = Selected::new(selection);
    let settings = if selected.only_condition().is_some() {
        SETTINGS
    } else {
        ""
    };
    let begin = format!("{BEGIN}{settings}");
    let sql = statement(&selected);
    let rows = db
        .query_after(&begin, &sql, &selected.values.params())
        .await?;
    match rows.first() {
        Some(row) => Ok(row.try_get(0)?),
        None => Ok(0),
    }
}

/// Where one condition on their runs leaves most of the jobs, those that it leaves out are taken
/// from the whole, which is counted without the runs. Either way the count is exact; PostgreSQL
/// runs the one that is asked for.
fn statement(selected: &Selected) -> String {
    let matching = format!("SELECT count(*) {}", selected.source());
    let Some((condition, others)) = selected.only_condition() else {
        return matching;
    };
    let (joins, joins_of_runs) = (selected.joins(), selected.joins_of_runs());
    format!(
        "SELECT CASE WHEN ( \
           SELECT 2 * count(*) FILTER (WHERE {condition}) > count(*) \
           FROM (SELECT max(id)::int8 AS last FROM runs) ids, generate_series(1, {SAMPLE}) part, \
           LATERAL ( \
             SELECT * FROM runs WHERE id >= last * part / {SAMPLE} ORDER BY id LIMIT 1 \
           ) runs{joins_of_runs} \
         ) THEN (SELECT count(*) FROM jobs WHERE {HAS_RUN}) \
           - (SELECT count(*) FROM jobs{joins} WHERE {HAS_RUN} AND {others}) \
         ELSE ({matching}) END"
    )
}
