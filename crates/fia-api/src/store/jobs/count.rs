//! Counts of jobs.

use crate::model::Selection;
use crate::store::begin::BEGIN;
use crate::store::jobs::selection::{HAS_RUN, Selected};
use crate::store::jobs::tables::read;
use crate::store::{Db, StoreError};

/// Planner settings for a count that joins many rows and searches no texts: a merge of two
/// indexes takes half as long as a hash join, whose large table misses the processor's caches,
/// and the indexes are usually in memory.
const OF_RUNS: &str = "; SET LOCAL enable_hashjoin = off; SET LOCAL work_mem = '32MB'";
/// The same for a count that joins none: to read the whole table takes less time than half of an index.
const OF_ALL: &str = "; SET LOCAL random_page_cost = DEFAULT";

/// Number of runs sampled to estimate whether a condition matches most of them.
const SAMPLE: u32 = 64;

/// Counts jobs.
///
/// # Errors
/// [`StoreError::BadValue`] if a filter's text is not a timestamp; otherwise when the database
/// fails.
pub async fn count(db: &Db, selection: &Selection) -> Result<i64, StoreError> {
    read(db, selection, move |tables| {
        Box::pin(async move { count_of(db, &Selected::new(selection, tables)).await })
    })
    .await
}

async fn count_of(db: &Db, selected: &Selected) -> Result<i64, StoreError> {
    if selected.is_empty() {
        return Ok(0);
    }
    let settings = if selected.only_condition().is_some() {
        OF_RUNS
    } else if selected.reads_list_table() && !selected.searches() {
        OF_ALL
    } else {
        ""
    };
    let begin = format!("{BEGIN}{settings}");
    let sql = statement(selected);
    let rows = db
        .query_after(&begin, &sql, &selected.values.params())
        .await?;
    match rows.first() {
        Some(row) => Ok(row.try_get(0)?),
        None => Ok(0),
    }
}

/// Chooses the cheaper of two exact counts. If the only condition matches most of the jobs, the
/// jobs that do not match are subtracted from the total, which needs no join with runs.
/// PostgreSQL evaluates only the branch that is chosen.
fn statement(selected: &Selected) -> String {
    let matching = format!("SELECT count(*) {}", selected.source());
    let Some((condition, others)) = selected.only_condition() else {
        return matching;
    };
    let (joins, joins_of_runs) = (selected.joins().of_jobs(), selected.joins().of_runs());
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
