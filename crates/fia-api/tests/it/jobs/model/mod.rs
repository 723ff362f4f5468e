//! Filters, orderings and scopes over random rows, compared with a reference model.

mod query;
mod rows;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use crate::jobs::JobsFixture;
use crate::jobs::list_table;
use crate::jobs::model::query::{THEIRS, query};
use crate::jobs::model::rows::{job, store};

const INSTRUMENTS: [&str; 4] = ["MARI", "mari", "ÜBER", "LOQ"];

const EXPERIMENTS: [Option<i32>; 6] = [
    None,
    Some(0),
    Some(5),
    Some(7),
    Some(i32::MAX),
    Some(i32::MIN),
];

const STATES: [&str; 4] = ["SUCCESSFUL", "UNSUCCESSFUL", "ERROR", "NOT_STARTED"];

/// Chronological, which is also lexicographic.
const TIMESTAMPS: [&str; 6] = [
    "0001-01-01T00:00:00",
    "1999-12-31T23:59:59.999999",
    "2020-01-01T00:00:00",
    "2020-01-01T00:00:00.000001",
    "2024-02-29T12:00:00",
    "9999-12-31T23:59:59.999999",
];

/// Takes some seconds: 750 random requests, each a list and a count: without indexes, with them,
/// and with the list table.
#[tokio::test]
async fn lists_and_counts_match_the_reference_model() {
    let fixture = JobsFixture::new().await;
    fixture.upstreams.set_experiments(1234, &THEIRS);
    let mut random = TestRunner::deterministic();
    let mut draw_jobs = || {
        prop::collection::vec(job(), 60)
            .new_tree(&mut random)
            .unwrap()
            .current()
    };
    let mut sets = [draw_jobs(), draw_jobs(), draw_jobs()];
    for (i, jobs) in sets.iter_mut().enumerate() {
        if i == 2 {
            // Filled by its triggers.
            list_table::apply(&fixture.database).await;
        }
        store(&fixture.database, jobs).await;
        if i == 1 {
            let db = fia_api::store::Db::new(
                &crate::harness::config(&[&fixture.database.vars()]).database,
            )
            .unwrap();
            fia_api::store::indexes::apply(&db).await.unwrap();
        }
        let replica = fixture.replica();
        if i == 2 {
            list_table::is_used(&replica).await;
        }
        for _ in 0..250 {
            let query = query().new_tree(&mut random).unwrap().current();
            assert_eq!(
                query.actual(&replica).await,
                query.expected(jobs),
                "{query:?}"
            );
        }
        assert_eq!(replica.state.db.uses_list_table(), i == 2);
    }
}
