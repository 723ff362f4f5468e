//! Who may see what.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::json;

use crate::harness::{Answer, request, vars};
use crate::jobs::{Bench, filtered};

/// Every route with what each caller gets: none, garbage, expired, forged, no role, no user
/// number, the user whose job it is, another user, staff, the API key.
#[tokio::test]
async fn every_caller_gets_what_they_may_have() {
    const CALLERS: [&str; 10] = [
        "none", "garbage", "expired", "forged", "norole", "nouser", "user", "user2", "staff",
        "apikey",
    ];
    const ANY: [u16; 10] = [401, 403, 403, 403, 403, 403, 200, 200, 200, 200];
    const ONE_JOB: [u16; 10] = [401, 403, 403, 403, 403, 403, 200, 403, 200, 200];
    const STAFF: [u16; 10] = [401, 403, 403, 403, 403, 403, 403, 403, 200, 200];
    const OPEN: [u16; 10] = [200; 10];
    let bench = Bench::new().await;
    let replica = bench.replica();
    for (method, path, expected) in [
        (Method::GET, "/jobs?limit=1", ANY),
        (Method::GET, "/instrument/mari/jobs?limit=1", ANY),
        (Method::GET, "/jobs/runners", ANY),
        (Method::GET, "/job/1", ONE_JOB),
        (Method::PATCH, "/job/1", STAFF),
        (Method::GET, "/jobs/count", OPEN),
        (Method::GET, "/instrument/mari/jobs/count", OPEN),
    ] {
        for (who, status) in CALLERS.into_iter().zip(expected) {
            let body = (method == Method::PATCH).then(|| json!({}));
            let answer = replica
                .send(request(method.clone(), path, who, body.as_ref()))
                .await;
            assert_eq!(answer.status.as_u16(), status, "{method} {path} as {who}");
        }
    }
}

#[tokio::test]
async fn counts_want_a_token_where_the_settings_say_so() {
    let bench = Bench::new().await;
    let replica = bench.replica_with(&vars(&[("REQUIRE_AUTH_COUNTS", "on")]));
    for path in ["/jobs/count", "/instrument/mari/jobs/count"] {
        assert_eq!(replica.get(path, "none").await.status, 401);
        assert_eq!(replica.get(path, "expired").await.status, 403);
        assert_eq!(replica.get(path, "user2").await.status, 200);
    }
}

fn ids(answer: &Answer) -> Vec<i64> {
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let jobs = answer.json();
    let jobs = jobs.as_array().unwrap().iter();
    jobs.map(|job| job["id"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn an_instrument_filter_restricts_a_users_list() {
    let bench = Bench::new().await;
    let replica = bench.replica();
    let all = ids(&replica.get("/jobs?order_by=id", "user").await);
    let names = json!({"instrument_in": ["MARI"]});
    let path = filtered("/jobs?order_by=id", &names);
    let of_mari = ids(&replica.get(&path, "user").await);
    let of_everybody = ids(&replica.get(&path, "staff").await);
    let expected: Vec<i64> = all
        .into_iter()
        .filter(|id| of_everybody.contains(id))
        .collect();
    assert!(!expected.is_empty() && expected.len() < of_everybody.len());
    assert_eq!(of_mari, expected);
    let unknown = filtered("/jobs", &json!({"instrument_in": ["NOPE"]}));
    assert_eq!(ids(&replica.get(&unknown, "user").await), [0_i64; 0]);
}

#[tokio::test]
async fn staff_see_as_users_what_users_see() {
    let bench = Bench::new().await;
    let replica = bench.replica();
    for path in ["/jobs?order_by=id", "/instrument/mari/jobs?order_by=id"] {
        let user = ids(&replica.get(path, "user").await);
        let staff = ids(&replica.get(&format!("{path}&as_user=true"), "staff").await);
        assert_eq!(user, staff, "{path}");
        let key = ids(&replica.get(&format!("{path}&as_user=1"), "apikey").await);
        assert_eq!(key, [0_i64; 0], "{path}");
    }
}

#[tokio::test]
async fn without_a_users_experiments_there_is_no_list_but_503() {
    let bench = Bench::new().await;
    let replica = bench.replica();
    for status in [403, 404, 500] {
        bench.upstreams.fail("/experiments", Some(status));
        for path in [
            "/jobs",
            "/jobs?limit=5",
            "/instrument/mari/jobs?limit=5",
            "/job/1",
        ] {
            let answer = replica.get(path, "user").await;
            assert_eq!(answer.status, 503, "{path} {status}: {}", answer.text());
        }
    }
    // What does not hang on them is not in want of them.
    assert_eq!(replica.get("/jobs?limit=5", "staff").await.status, 200);
    bench.upstreams.fail("/experiments", None);
    assert_eq!(replica.get("/jobs?limit=5", "user").await.status, 200);
}

#[tokio::test]
async fn a_slow_auth_service_is_waited_for_within_bounds_and_asked_once() {
    let bench = Bench::new().await;
    let replica = bench.replica();
    bench
        .upstreams
        .delay("/experiments", Duration::from_secs(20));
    let began = std::time::Instant::now();
    let path = "/jobs?limit=5";
    let answers = futures_util::future::join_all((0..20).map(|_| replica.get(path, "user"))).await;
    assert!(answers.iter().all(|answer| answer.status == 503));
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(bench.upstreams.calls("/experiments"), 1);
}

#[tokio::test]
async fn a_job_without_an_experiment_is_its_users() {
    let bench = Bench::new().await;
    let replica = bench.replica();
    let client = bench.database.client().await;
    // A job's own owner counts, not its run's.
    let statement = "UPDATE jobs SET owner_id = (SELECT id FROM job_owners \
                     WHERE user_number = 5678) WHERE id = 1";
    client.execute(statement, &[]).await.unwrap();
    assert_eq!(replica.get("/job/1", "user2").await.status, 200);
    assert_eq!(replica.get("/job/1", "user").await.status, 403);
    // A user's own job does not hang on their experiments.
    bench.upstreams.fail("/experiments", Some(500));
    assert_eq!(replica.get("/job/1", "user2").await.status, 200);
    assert_eq!(replica.get("/job/999", "user").await.status, 404);
}
