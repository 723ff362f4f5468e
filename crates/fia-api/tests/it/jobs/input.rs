//! Query parameters and filters: valid, lenient and invalid.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{eventually, vars};
use crate::jobs::{JobsFixture, filtered};

const LISTS: [&str; 2] = ["/jobs", "/instrument/mari/jobs"];
const COUNTS: [&str; 2] = ["/jobs/count", "/instrument/mari/jobs/count"];

#[tokio::test]
async fn invalid_query_parameters_are_422() {
    let fixture = JobsFixture::new().await;
    let replica = fixture.replica();
    for query in [
        "limit=-1",
        "limit=",
        "limit=1.5",
        "limit=1e2",
        "limit=9223372036854775808",
        "offset=-1",
        "offset=true",
        "offset=%00",
        "order_by=nope",
        "order_by=",
        "order_by=ID",
        "order_direction=up",
        "include_run=",
        "include_run=2",
        "as_user=maybe",
    ] {
        for path in LISTS {
            let path = format!("{path}?{query}");
            let response = replica.get(&path, "apikey").await;
            assert_eq!(response.status, 422, "{path}");
            let body = response.json();
            assert_eq!(body["status_code"], 10422, "{path}");
            let message = body["message"].as_str().unwrap();
            assert!(message.starts_with("1 validation error: "), "{message}");
        }
    }
    let both = replica.get("/jobs?limit=x&offset=y", "apikey").await.json();
    assert!(
        both["message"]
            .as_str()
            .unwrap()
            .starts_with("2 validation errors: ")
    );
}

#[tokio::test]
async fn lenient_query_spellings_are_accepted() {
    let fixture = JobsFixture::new().await;
    let replica = fixture.replica();
    let expected = replica.get("/jobs?limit=2&order_by=id", "apikey").await;
    for query in [
        "limit=%202%20&order_by=id",
        "limit=+2&order_by=id",
        "limit=2.0&order_by=id&unknown=1",
        "limit=x&limit=2&order_by=start&order_by=id",
        "limit=0_2&order_by=%69d&as_user=OFF&include_run=no",
    ] {
        let response = replica.get(&format!("/jobs?{query}"), "apikey").await;
        assert_eq!(response.text(), expected.text(), "{query}");
    }
}

/// Lists and counts reject the same filters, even for an instrument without jobs. Takes some
/// seconds: hundreds of requests.
#[tokio::test]
async fn invalid_filters_are_400() {
    let fixture = JobsFixture::new().await;
    let replica = fixture.replica();
    let dates = [
        "",
        "not a date",
        "2020-13-45",
        "2024-02-30",
        "2020-01-01 Nowhere/City",
    ];
    let mut wrong: Vec<Value> = vec![
        json!({"the game": 1}),
        json!({"title": null}),
        json!({"title": "a\u{0}b"}),
        json!({"filename": ["a"]}),
        json!({"instrument_in": "MARI"}),
        json!({"instrument_in": [1]}),
        json!({"job_state_in": ["NOPE"]}),
        json!({"experiment_number_in": ["x"]}),
        json!({"experiment_number_after": "1.5"}),
        json!({"experiment_number_before": ""}),
        json!({"experiment_number_before": "99999999999"}),
        json!([1]),
        json!("abc"),
        json!(true),
    ];
    for field in ["job_start", "job_end", "run_start", "run_end"] {
        for side in ["before", "after"] {
            let key = format!("{field}_{side}");
            wrong.extend(dates.iter().map(|date| json!({ &key: date })));
            wrong.push(json!({ &key: 5 }));
            wrong.push(json!({ &key: null }));
        }
    }
    for filters in &wrong {
        for path in LISTS
            .iter()
            .chain(&COUNTS)
            .chain(&["/instrument/nope/jobs?limit=1"])
        {
            let response = replica.get(&filtered(path, filters), "apikey").await;
            assert_eq!(response.status, 400, "{path} {filters}");
            let text = "\"A bad request was made, bad filter provided\"";
            assert_eq!(response.text(), text, "{path} {filters}");
        }
    }
    for raw in [
        "%20",
        "%7B",
        "%EF%BB%BF%7B%7D",
        "NaN",
        "%7B%22title%22:%22%5Cud800%22%7D",
    ] {
        let response = replica
            .get(&format!("/jobs/count?filters={raw}"), "none")
            .await;
        assert_eq!(response.status, 400, "{raw}");
    }
}

#[tokio::test]
async fn timestamp_filters_accept_postgresql_syntax() {
    let fixture = JobsFixture::new().await;
    let replica = fixture.replica();
    let count = async |filters: Value| {
        let path = filtered("/jobs/count", &filters);
        replica.get(&path, "none").await.json()["count"]
            .as_i64()
            .unwrap()
    };
    let all = count(json!({})).await;
    assert_eq!(count(json!({"run_start_before": "infinity"})).await, all);
    assert_eq!(count(json!({"run_start_before": "now"})).await, all);
    assert_eq!(count(json!({"run_start_after": "-infinity"})).await, all);
    let with_zone = count(json!({"run_start_after": "2022-01-01T00:00:00+05:00"})).await;
    assert_eq!(
        count(json!({"run_start_after": "2022-01-01"})).await,
        with_zone
    );
}

/// A rejected timestamp must not close the connection: any client could exhaust the pool.
#[tokio::test]
async fn an_invalid_timestamp_filter_keeps_the_connection() {
    let fixture = JobsFixture::new().await;
    // One connection, shared with the outbox poll, that of the probe, and that of the readiness
    // check, which the check of the list table uses.
    let replica = fixture.replica_with(&vars(&[("DB_POOL_SIZE", "1")]));
    replica.wait_until_reachable().await;
    let client = fixture.database.client().await;
    let backends = async || -> Vec<i32> {
        let sql = "SELECT pid FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid() AND backend_type = 'client backend' \
                   ORDER BY 1";
        let rows = client.query(sql, &[&fixture.database.name]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    };
    replica.get("/jobs/count", "none").await;
    eventually(Duration::from_secs(10), async || {
        backends().await.len() == 3
    })
    .await;
    let before = backends().await;
    for _ in 0..5 {
        let path = filtered("/jobs/count", &json!({"job_end_after": "soon"}));
        assert_eq!(replica.get(&path, "none").await.status, 400);
    }
    assert_eq!(backends().await, before);
}

#[tokio::test]
async fn get_on_a_post_only_job_path_is_422() {
    let fixture = JobsFixture::new().await;
    let replica = fixture.replica();
    for path in [
        "/job/rerun",
        "/job/simple",
        "/job/download-zip",
        "/job/",
        "/job/%00",
    ] {
        let expected = if path == "/job/" { 404 } else { 422 };
        assert_eq!(replica.get(path, "apikey").await.status, expected, "{path}");
    }
}

#[tokio::test]
async fn consecutive_pages_equal_the_whole_list() {
    let fixture = JobsFixture::new().await;
    let replica = fixture.replica();
    let ids = async |query: String| -> Vec<i64> {
        let jobs = replica
            .get(&format!("/jobs?{query}"), "apikey")
            .await
            .json();
        jobs.as_array()
            .unwrap()
            .iter()
            .map(|job| job["id"].as_i64().unwrap())
            .collect()
    };
    for order in [
        "start",
        "end",
        "state",
        "id",
        "run_start",
        "run_end",
        "outputs",
        "experiment_number",
        "experiment_title",
        "filename",
    ] {
        for direction in ["asc", "desc"] {
            let query = format!("order_by={order}&order_direction={direction}");
            let whole = ids(query.clone()).await;
            assert_eq!(whole.len(), 117);
            let mut pages = Vec::new();
            for page in 0..17 {
                pages.extend(ids(format!("{query}&limit=7&offset={}", page * 7)).await);
            }
            assert_eq!(pages, whole, "{query}");
        }
    }
}
