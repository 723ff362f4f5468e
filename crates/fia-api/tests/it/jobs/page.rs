//! A page of a filtered list is read with two statements: its ids, and the rows of these.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;

use super::{JobsFixture, filtered};
use crate::harness::{eventually, vars};

/// A job that changes between the statements is shown as the first one found it.
#[tokio::test]
async fn a_page_shows_one_state_of_the_database() {
    let jobs = JobsFixture::new().await;
    let uncached = vars(&[("JOB_LIST_CACHE_TTL_SECONDS", "0")]);
    let replica = jobs.replica_with(&uncached);
    let path = filtered("/jobs?limit=50", &json!({ "job_state_in": ["ERROR"] }));
    let before = replica.get(&path, "apikey").await;
    assert_eq!(before.status, StatusCode::OK);
    assert!(before.text().contains("ERROR"), "{}", before.text());

    // Only the second statement reads scripts.
    let lock = jobs.database.client().await;
    let locked = "BEGIN; LOCK TABLE scripts IN ACCESS EXCLUSIVE MODE";
    lock.batch_execute(locked).await.unwrap();
    let writer = jobs.database.client().await;
    let writes = async {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
                       AND datname = current_database()";
        eventually(Duration::from_secs(5), async || {
            let row = writer.query_one(waiting, &[]).await.unwrap();
            row.get::<_, i64>(0) == 1
        })
        .await;
        let change = "UPDATE jobs SET state = 'SUCCESSFUL' WHERE state = 'ERROR'";
        writer.batch_execute(change).await.unwrap();
        lock.batch_execute("COMMIT").await.unwrap();
    };
    let (during, ()) = tokio::join!(replica.get(&path, "apikey"), writes);
    assert_eq!(during.json(), before.json());
    let after = replica.get(&path, "apikey").await;
    assert_eq!(after.json(), json!([]));
}

/// The connection of a replica with one is used again after a page, after an empty one, and after a
/// value that the database refuses.
async fn the_connection_stays(prepared: &str) {
    let jobs = JobsFixture::new().await;
    let replica = jobs.replica_with(&vars(&[
        ("JOB_LIST_CACHE_TTL_SECONDS", "0"),
        ("DB_POOL_SIZE", "1"),
        ("DB_PREPARED", prepared),
    ]));
    let client = jobs.database.client().await;
    let page = &filtered("/jobs?limit=5", &json!({ "job_state_in": ["SUCCESSFUL"] }));
    assert_eq!(replica.get(page, "apikey").await.status, StatusCode::OK);
    // Others may come: the server has some for checks of its own.
    let sessions = "SELECT array_agg(pid) FROM pg_stat_activity \
                    WHERE datname = current_database() AND pid <> pg_backend_pid() \
                    AND query = 'COMMIT'";
    let row = client.query_one(sessions, &[]).await.unwrap();
    let first: Vec<i32> = row.get(0);
    let remaining = async || -> i64 {
        let count = "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY($1)";
        let row = client.query_one(count, &[&first]).await.unwrap();
        row.get(0)
    };
    let empty = filtered(
        "/jobs?limit=5",
        &json!({ "title": "there is no such title" }),
    );
    assert_eq!(replica.get(&empty, "apikey").await.json(), json!([]));
    let refused = filtered("/jobs?limit=5", &json!({ "run_start_before": "no time" }));
    let refused = replica.get(&refused, "apikey").await;
    assert!(refused.status.is_client_error(), "{}", refused.status);
    assert_eq!(replica.get(page, "apikey").await.status, StatusCode::OK);
    assert_eq!(remaining().await, first.len() as i64);
}

#[tokio::test]
async fn the_connection_of_a_page_stays() {
    the_connection_stays("auto").await;
}

#[tokio::test]
async fn the_connection_of_a_page_stays_without_named_statements() {
    the_connection_stays("off").await;
}
