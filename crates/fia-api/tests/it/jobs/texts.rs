//! Pages in order of a text, of more jobs than are looked at in that order before all matches are
//! selected.

use std::ops::RangeInclusive;

use serde_json::Value;
use tokio_postgres::Client;

use super::{JobsFixture, filtered, list_table};
use crate::harness::{Replica, vars};

/// 30,000 runs with a job each, some with two: many equal texts, some long ones, absent outputs, and
/// states that are rare, or frequent only at one end of an order. The jobs of equal texts are not in the
/// order of their runs.
const JOBS: &str = "
    DELETE FROM jobs;
    INSERT INTO runs (filename, title, users, run_start, run_end, instrument_id, owner_id, good_frames, raw_frames)
    SELECT 'file ' || lpad((n * 7919 % 30000 / 4)::text, 4, '0') || CASE WHEN n % 50 = 0 THEN repeat('f', 600) ELSE '' END,
           'title ' || lpad((n * 4801 % 30000 / 9)::text, 4, '0') || CASE WHEN n % 70 = 0 THEN repeat('t', 600) ELSE '' END,
           '', '2020-01-01', '2020-01-01'::timestamp + n * interval '1 hour',
           CASE WHEN n % 40 = 0 THEN 5 ELSE 1 + n % 2 END, 1, 1, 1
    FROM generate_series(1, 30000) n;
    INSERT INTO jobs (state, inputs, outputs, owner_id, job_type, run_id)
    SELECT CASE WHEN runs.id % 2 = 0 THEN 'SUCCESSFUL' WHEN runs.id % 3001 = 0 THEN 'ERROR'
                WHEN runs.title > 'title 2500' THEN 'UNSUCCESSFUL' ELSE 'NOT_STARTED' END::state,
           '{}',
           CASE WHEN runs.id % 5 = 0 THEN NULL WHEN runs.id % 90 = 1 THEN repeat('o', 600) || runs.id % 8
                ELSE 'output ' || runs.id % 11 END,
           1, 'RERUN', runs.id
    FROM runs, generate_series(1, 1 + (runs.id % 3 = 0)::int) WHERE runs.users = '' ORDER BY runs.id DESC;
    VACUUM ANALYZE runs; VACUUM ANALYZE jobs;";

const FILTERS: [(&str, &str); 8] = [
    (r#"{"job_state_in":["SUCCESSFUL"]}"#, "state = 'SUCCESSFUL'"),
    (r#"{"job_state_in":["ERROR"]}"#, "state = 'ERROR'"),
    (
        r#"{"job_state_in":["UNSUCCESSFUL"]}"#,
        "state = 'UNSUCCESSFUL'",
    ),
    (
        r#"{"run_end_before":"2020-12-01T00:00:00Z"}"#,
        "run_end < '2020-12-01'",
    ),
    (
        r#"{"run_start_after":"2020-03-01T00:00:00Z","job_state_in":["SUCCESSFUL"]}"#,
        "run_start > '2020-03-01' AND state = 'SUCCESSFUL'",
    ),
    (r#"{"instrument_in":["ARGUS"]}"#, "runs.instrument_id = 2"),
    (
        r#"{"instrument_in":["ARGUS","CRISP"],"run_end_before":"2020-02-01T00:00:00Z"}"#,
        "runs.instrument_id IN (2, 5) AND run_end < '2020-02-01'",
    ),
    (
        r#"{"title":"013","job_state_in":["SUCCESSFUL","NOT_STARTED"]}"#,
        "title ILIKE '%013%' AND state IN ('SUCCESSFUL', 'NOT_STARTED')",
    ),
];

/// The ids of a list, from the tables alone.
async fn expected(client: &Client, condition: &str, order: &str) -> Vec<i32> {
    let sql = format!(
        "SELECT jobs.id FROM jobs JOIN runs ON runs.id = jobs.run_id WHERE {condition} \
         ORDER BY {order}"
    );
    let rows = client.query(&sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

async fn page(replica: &Replica, path: &str, filters: &str) -> Vec<i32> {
    let filters: Value = serde_json::from_str(filters).unwrap();
    let response = replica.get(&filtered(path, &filters), "apikey").await;
    assert_eq!(response.status, 200, "{path}");
    let jobs = response.json();
    let jobs = jobs.as_array().unwrap().iter();
    jobs.map(|job| i32::try_from(job["id"].as_i64().unwrap()).unwrap())
        .collect()
}

/// The numbers of texts of which some are at the end of what is looked at for the first job of an
/// order: some 2,000 of the short texts, of which 9 runs share a title and 4 a file name.
const ENDS: [(&str, &str, &str, RangeInclusive<u32>); 4] = [
    ("experiment_title", "title", "asc", 218..=235),
    ("experiment_title", "title", "desc", 3098..=3118),
    ("filename", "filename", "asc", 500..=520),
    ("filename", "filename", "desc", 6980..=7000),
];

/// Takes some 10 s, for 460 pages of many jobs.
#[tokio::test]
async fn pages_in_order_of_a_text_are_those_of_the_tables() {
    let jobs = JobsFixture::new().await;
    let client = jobs.database.client().await;
    for statement in JOBS.split(';') {
        client.batch_execute(statement).await.unwrap();
    }
    list_table::apply(&jobs.database).await;
    let replica = jobs.replica_with(&vars(&[("JOB_LIST_CACHE_TTL_SECONDS", "0")]));
    list_table::is_used(&replica).await;
    for (name, column) in [
        ("experiment_title", "title"),
        ("filename", "filename"),
        ("outputs", "outputs"),
        ("run_end", "run_end"),
        ("state", "state"),
        ("id", "jobs.id"),
    ] {
        for direction in ["asc", "desc"] {
            let order = Order {
                name,
                column,
                direction,
            };
            for (filters, condition) in FILTERS {
                let windows = [(1, 1), (25, 0), (3, 200), (3, 2_000)];
                order
                    .compare(&replica, &client, (filters, condition), &windows)
                    .await;
            }
        }
    }
    for (name, column, direction, numbers) in ENDS {
        let order = Order {
            name,
            column,
            direction,
        };
        for number in numbers {
            let filters = format!(r#"{{"{column}":" {number:04}"}}"#);
            let condition = format!("{column} ILIKE '% {number:04}%'");
            order
                .compare(&replica, &client, (&filters, &condition), &[(1, 0)])
                .await;
        }
    }
    assert!(replica.state.db.uses_list_table());
}

struct Order {
    name: &'static str,
    column: &'static str,
    direction: &'static str,
}

impl Order {
    /// Compares pages, each a limit and an offset, with those of the tables.
    async fn compare(
        &self,
        replica: &Replica,
        client: &Client,
        (filters, condition): (&str, &str),
        windows: &[(usize, usize)],
    ) {
        let Self {
            name,
            column,
            direction,
        } = self;
        let order = format!("{column} {direction}, jobs.id {direction}");
        let expected = expected(client, condition, &order).await;
        for (limit, offset) in windows {
            let path = format!(
                "/jobs?limit={limit}&offset={offset}&order_by={name}&order_direction={direction}"
            );
            let expected: Vec<_> = expected.iter().skip(*offset).take(*limit).collect();
            let page = page(replica, &path, filters).await;
            assert_eq!(
                page.iter().collect::<Vec<_>>(),
                expected,
                "{path} {filters}"
            );
        }
    }
}
