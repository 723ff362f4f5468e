//! How transactions begin, and the parameters of their statements.

use std::time::Duration;

use tokio_postgres::types::{ToSql, Type};

macro_rules! settings {
    () => {
        "SET LOCAL statement_timeout = 3000; SET LOCAL jit = off; \
         SET LOCAL parallel_setup_cost = 10000; SET LOCAL random_page_cost = 1.1; \
         SET LOCAL idle_in_transaction_session_timeout = 5000"
    };
}
macro_rules! snapshot {
    () => {
        "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"
    };
}

/// Begins a transaction that the server ends by itself if this process dies or hangs. The
/// statement timeout of 3 s is shorter than a cache lease (5 s), so that a slow load cannot
/// outlive its lease. Pipelined with the statement that follows.
///
/// The isolation is stated, because the statements rely on it and a database may have another
/// default: a statement that waited for a lock sees what the lock's last holder committed.
///
/// JIT compilation takes longer than any of these statements, and few are worth the
/// milliseconds that parallel workers take to start. A random page costs little more than the next one
/// of a table that is in memory or on a solid-state disk: otherwise the planner reads whole tables instead
/// of looking up thousands of rows.
pub(super) const BEGIN: &str = concat!("BEGIN ISOLATION LEVEL READ COMMITTED; ", settings!());
/// As [`BEGIN`], for a lookup whose plan is not kept: it joins tables by their keys in a good order,
/// and to compare other orders takes longer.
pub(super) const BEGIN_LOOKUP: &str = concat!(
    "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL join_collapse_limit = 1; ",
    settings!()
);
/// As [`BEGIN`], for statements that read one state of the database.
pub(super) const BEGIN_SNAPSHOT: &str = concat!(snapshot!(), "; ", settings!());
/// As [`BEGIN_SNAPSHOT`], in a session that has the settings.
pub(super) const BEGIN_SNAPSHOT_DIRECT: &str = snapshot!();

/// [`BEGIN`], with another timeout of the statement.
pub(super) fn begin_within(limit: Duration) -> String {
    let millis = limit.as_millis();
    format!("{BEGIN}; SET LOCAL statement_timeout = {millis}")
}

/// A parameter and its type. With explicit types a query needs one round trip and no named
/// statement.
pub(super) type Param<'a> = (&'a (dyn ToSql + Sync), Type);
