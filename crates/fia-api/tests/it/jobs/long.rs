//! Lists without a limit, streamed from the database.

use std::time::Duration;

use http::Method;
use http_body_util::BodyExt as _;
use serde_json::Value;

use crate::harness::{Database, eventually, request};
use crate::jobs::JobsFixture;

const ROWS: i32 = 5000;

async fn fill(database: &Database) {
    let client = database.client().await;
    let fill = "INSERT INTO jobs (start, state, inputs, stacktrace, owner_id, job_type, run_id) \
                SELECT timestamp '2020-01-01' + n * interval '1 second', 'ERROR', '{}', \
                       repeat('x', 2000), 1, 'RERUN', 1 FROM generate_series(1, $1) n";
    client.execute(fill, &[&ROWS]).await.unwrap();
}

/// Takes some seconds: lists of 5,000 jobs of 2 kB each.
#[tokio::test]
async fn an_unlimited_list_is_complete_and_ordered() {
    let fixture = JobsFixture::new().await;
    fill(&fixture.database).await;
    let replica = fixture.replica();
    for query in ["limit=0", "limit=4000&offset=10", "offset=5100&order_by=id"] {
        let path = format!("/jobs?order_direction=asc&include_run=1&{query}");
        let response = replica.get(&path, "apikey").await;
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(response.header("content-type"), "application/json");
        let jobs = response.json();
        let jobs = jobs.as_array().unwrap();
        let expected = match query {
            "limit=0" => 5117,
            "limit=4000&offset=10" => 4000,
            _ => 17,
        };
        assert_eq!(jobs.len(), expected, "{query}");
        let key = if query.contains("order_by=id") {
            "id"
        } else {
            "start"
        };
        let keys: Vec<&Value> = jobs.iter().map(|job| &job[key]).collect();
        let sorted = keys.windows(2).all(|pair| match (pair[0], pair[1]) {
            (Value::String(a), Value::String(b)) => a <= b,
            (Value::Number(a), Value::Number(b)) => a.as_i64() < b.as_i64(),
            (_, last) => last.is_null(),
        });
        assert!(sorted, "{query}");
        assert!(jobs.iter().all(|job| job["run"]["filename"].is_string()));
    }
}

/// Takes over a second: lists of 5,000 jobs of 2 kB each.
#[tokio::test]
async fn at_most_four_unlimited_lists_stream_concurrently() {
    let fixture = JobsFixture::new().await;
    fill(&fixture.database).await;
    let replica = fixture.replica();
    let list = || request(Method::GET, "/jobs", "apikey", None);
    let mut open = Vec::new();
    for _ in 0..4 {
        open.push(replica.edge().handle(list()).await);
    }
    assert!(open.iter().all(|response| response.status() == 200));
    assert_eq!(replica.get("/jobs", "apikey").await.status, 503);
    // Limited lists use separate permits.
    assert_eq!(replica.get("/jobs?limit=5", "apikey").await.status, 200);
    // A completed and an abandoned response both release their permits.
    let whole = open
        .pop()
        .unwrap()
        .into_body()
        .collect()
        .await
        .unwrap()
        .to_bytes();
    let whole: Value = serde_json::from_slice(&whole).unwrap();
    assert_eq!(whole.as_array().unwrap().len(), 5117);
    drop(open.pop());
    for _ in 0..2 {
        open.push(replica.edge().handle(list()).await);
    }
    assert!(open.iter().all(|response| response.status() == 200));
}

#[tokio::test]
async fn a_disconnected_client_frees_its_database_connection() {
    let fixture = JobsFixture::new().await;
    fill(&fixture.database).await;
    let replica = fixture.replica();
    for _ in 0..8 {
        let list = request(Method::GET, "/jobs", "apikey", None);
        let response = replica.edge().handle(list).await;
        assert_eq!(response.status(), 200);
    }
    let client = fixture.database.client().await;
    eventually(Duration::from_secs(5), async || {
        let busy = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 \
                    AND pid <> pg_backend_pid() AND state <> 'idle'";
        let row = client
            .query_one(busy, &[&fixture.database.name])
            .await
            .unwrap();
        row.get::<_, i64>(0) == 0
    })
    .await;
}

/// After the head is sent, aborting the body is the only way to signal a failure.
#[tokio::test]
async fn a_list_that_fails_midway_aborts_the_response() {
    let fixture = JobsFixture::new().await;
    fill(&fixture.database).await;
    let replica = fixture.replica();
    let list = request(Method::GET, "/jobs", "apikey", None);
    let response = replica.edge().handle(list).await;
    assert_eq!(response.status(), 200);
    let client = fixture.database.client().await;
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                WHERE datname = $1 AND pid <> pg_backend_pid()";
    client
        .execute(kill, &[&fixture.database.name])
        .await
        .unwrap();
    assert!(response.into_body().collect().await.is_err());
}

#[tokio::test]
async fn a_user_streams_two_lists_at_a_time() {
    let fixture = JobsFixture::new().await;
    fill(&fixture.database).await;
    let replica = fixture.replica();
    let list = |who| request(Method::GET, "/jobs", who, None);
    let mut open = Vec::new();
    for who in ["staff", "staff", "apikey"] {
        open.push(replica.edge().handle(list(who)).await);
    }
    assert!(open.iter().all(|response| response.status() == 200));
    let third = replica.get("/jobs", "staff").await;
    assert_eq!(third.status, 429);
    assert_eq!(third.header("retry-after"), "1");
    // Lists with a limit are not streamed.
    assert_eq!(replica.get("/jobs?limit=5", "staff").await.status, 200);
    drop(open.remove(0));
    assert_eq!(replica.edge().handle(list("staff")).await.status(), 200);
}
