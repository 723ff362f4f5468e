//! Authorisation of the job routes.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::json;

use crate::harness::{Response, request, vars};
use crate::jobs::{JobsFixture, filtered};

/// The status of every route for every caller. `user` owns job 1, `user2` does not.
#[tokio::test]
async fn each_route_enforces_its_role_for_every_caller() {
    const CALLERS: [&str; 10] = [
        "none", "garbage", "expired", "forged", "norole", "nouser", "user", "user2", "staff",
        "apikey",
    ];
    const ANY: [u16; 10] = [401, 403, 403, 403, 403, 403, 200, 200, 200, 200];
    const ONE_JOB: [u16; 10] = [401, 403, 403, 403, 403, 403, 200, 403, 200, 200];
    const STAFF: [u16; 10] = [401, 403, 403, 403, 403, 403, 403, 403, 200, 200];
    const OPEN: [u16; 10] = [200; 10];
    let fixture = JobsFixture::new().await;
    let replica = fixture.replica();
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
            let response = replica
                .send(request(method.clone(), path, who, body.as_ref()))
                .await;
            assert_eq!(response.status.as_u16(), status, "{method} {path} as {who}");
        }
    }
}

#[tokio::test]
async fn require_auth_counts_protects_the_counts() {
    let fixture = JobsFixture::new().await;
    let replica = fixture.replica_with(&vars(&[("REQUIRE_AUTH_COUNTS", "on")]));
    for path in ["/jobs/count", "/instrument/mari/jobs/count"] {
        assert_eq!(replica.get(path, "none").await.status, 401);
        assert_eq!(replica.get(path, "expired").await.status, 403);
        assert_eq!(replica.get(path, "user2").await.status, 200);
    }
}

fn ids(response: &Response) -> Vec<i64> {
    assert_eq!(response.status, StatusCode::OK, "{}", response.text());
    let jobs = response.json();
    let jobs = jobs.as_array().unwrap().iter();
    jobs.map(|job| job["id"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn an_instrument_filter_restricts_a_users_list() {
    let fixture = JobsFixture::new().await;
    let replica = fixture.replica();
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
async fn as_user_gives_staff_the_users_view() {
    let fixture = JobsFixture::new().await;
    let replica = fixture.replica();
    for path in ["/jobs?order_by=id", "/instrument/mari/jobs?order_by=id"] {
        let user = ids(&replica.get(path, "user").await);
        let staff = ids(&replica.get(&format!("{path}&as_user=true"), "staff").await);
        assert_eq!(user, staff, "{path}");
        let key = ids(&replica.get(&format!("{path}&as_user=1"), "apikey").await);
        assert_eq!(key, [0_i64; 0], "{path}");
    }
}

#[tokio::test]
async fn unavailable_experiments_make_user_lists_503() {
    let fixture = JobsFixture::new().await;
    let replica = fixture.replica();
    for status in [403, 404, 500] {
        fixture.upstreams.fail("/experiments", Some(status));
        for path in [
            "/jobs",
            "/jobs?limit=5",
            "/instrument/mari/jobs?limit=5",
            "/job/1",
        ] {
            let response = replica.get(path, "user").await;
            assert_eq!(response.status, 503, "{path} {status}: {}", response.text());
        }
    }
    // Staff requests do not need experiments.
    assert_eq!(replica.get("/jobs?limit=5", "staff").await.status, 200);
    fixture.upstreams.fail("/experiments", None);
    assert_eq!(replica.get("/jobs?limit=5", "user").await.status, 200);
}

#[tokio::test]
async fn a_slow_auth_service_times_out_after_one_shared_call() {
    let fixture = JobsFixture::new().await;
    let replica = fixture.replica();
    fixture
        .upstreams
        .delay("/experiments", Duration::from_secs(20));
    let began = std::time::Instant::now();
    let path = "/jobs?limit=5";
    let responses =
        futures_util::future::join_all((0..20).map(|_| replica.get(path, "user"))).await;
    assert!(responses.iter().all(|response| response.status == 503));
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(fixture.upstreams.calls("/experiments"), 1);
}

#[tokio::test]
async fn a_job_without_an_experiment_is_visible_to_its_owner() {
    let fixture = JobsFixture::new().await;
    let replica = fixture.replica();
    let client = fixture.database.client().await;
    // The job's owner decides, not the run's.
    let statement = "UPDATE jobs SET owner_id = (SELECT id FROM job_owners \
                     WHERE user_number = 5678) WHERE id = 1";
    client.execute(statement, &[]).await.unwrap();
    assert_eq!(replica.get("/job/1", "user2").await.status, 200);
    assert_eq!(replica.get("/job/1", "user").await.status, 403);
    // Ownership by user number does not need experiments.
    fixture.upstreams.fail("/experiments", Some(500));
    assert_eq!(replica.get("/job/1", "user2").await.status, 200);
    assert_eq!(replica.get("/job/999", "user").await.status, 404);
}
