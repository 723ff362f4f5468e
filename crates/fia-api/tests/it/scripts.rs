//! Reduction scripts from GitHub and from the cached copies.

use std::path::Path;
use std::time::{Duration, Instant};

use devstack::Upstreams;
use http::{Method, StatusCode};
use serde_json::json;

use crate::harness::{Database, Replica, Response, Vars, eventually, request, upstream_vars, vars};

const TEST_SCRIPT: &str = "/fiaisis/autoreduction-scripts/main/TEST/reduce.py";
/// Limit of the wait for a call, far above the pause after a failure.
const CALL_LIMIT: Duration = Duration::from_secs(10);
const COMMIT: &str = "/repos/fiaisis/autoreduction-scripts/commits/HEAD";

async fn setup(settings: &[(&str, &str)]) -> (Database, Upstreams, Vars) {
    let (database, upstreams) = tokio::join!(Database::seeded(), Upstreams::start());
    let upstreams = upstreams.unwrap();
    let mut all = database.vars();
    all.extend(upstream_vars(&upstreams));
    all.extend(vars(settings));
    (database, upstreams, all)
}

async fn autoreduce(replica: &Replica) -> Response {
    let body = json!({
        "filename": "f.nxs", "rb_number": "1", "instrument_name": "TEST", "title": "t",
        "users": "u", "run_start": "2024-01-01", "run_end": "2024-01-01", "good_frames": 1,
        "raw_frames": 2, "additional_values": {}, "runner_image": "img"
    });
    let request = request(Method::POST, "/job/autoreduction", "apikey", Some(&body));
    replica.send(request).await
}

async fn script(replica: &Replica) -> String {
    let response = autoreduce(replica).await;
    assert_eq!(response.status, StatusCode::CREATED, "{}", response.text());
    response.json()["script"].as_str().unwrap().to_owned()
}

/// Reduces until GitHub receives another call for `path`.
async fn wait_for_call(replica: &Replica, upstreams: &Upstreams, path: &str) {
    let before = upstreams.calls(path);
    eventually(CALL_LIMIT, async || {
        script(replica).await;
        upstreams.calls(path) > before
    })
    .await;
}

#[tokio::test]
async fn concurrent_requests_share_one_github_call() {
    let (_database, upstreams, settings) = setup(&[("GITHUB_API_TOKEN", "ghp_t")]).await;
    let replica = Replica::new(&[&settings]);
    upstreams.delay("", Duration::from_millis(200));
    futures_util::future::join_all((0..10).map(|_| script(&replica))).await;
    script(&replica).await;
    assert_eq!(upstreams.calls(TEST_SCRIPT), 1);
    assert_eq!(upstreams.calls(COMMIT), 1);
    // The token is sent to the API host only, and inserted into the script.
    assert_eq!(upstreams.last_authorization(TEST_SCRIPT), None);
    assert_eq!(
        upstreams.last_authorization(COMMIT).unwrap(),
        "Bearer ghp_t"
    );
    assert!(script(&replica).await.contains("\"ghp_t\""));
}

/// Takes a second: commits are looked up at most once a second.
#[tokio::test]
async fn a_changed_script_is_fetched_after_the_ttl() {
    let (database, upstreams, settings) = setup(&[("SCRIPT_CACHE_TTL_SECONDS", "0")]).await;
    let replica = Replica::new(&[&settings]);
    let first = script(&replica).await;
    assert_eq!(script(&replica).await, first);
    upstreams.set_commit("feed");
    wait_for_call(&replica, &upstreams, COMMIT).await;
    upstreams.set_script("TEST", Some("# changed\n"));
    assert!(script(&replica).await.contains("# changed\n"));
    let sql = "SELECT sha FROM scripts ORDER BY id DESC LIMIT 1";
    let row = database.client().await.query_one(sql, &[]).await.unwrap();
    assert_eq!(row.get::<_, Option<&str>>(0), Some("feed"));
    upstreams.set_script("TEST", None);
    let gone = autoreduce(&replica).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
    assert!(
        gone.text()
            .starts_with(r#"{"message":"The script could not be found locally or"#)
    );
}

/// Takes some seconds: a silent GitHub times out after 2 s, and each failure pauses for 1 s.
#[tokio::test]
async fn the_last_script_is_served_while_github_is_unavailable() {
    let (_database, upstreams, settings) = setup(&[("SCRIPT_CACHE_TTL_SECONDS", "0")]).await;
    let replica = Replica::new(&[&settings]);
    let first = script(&replica).await;
    for fault in ["slow", "failing", "refusing"] {
        match fault {
            "slow" => upstreams.delay("", Duration::from_secs(60)),
            "failing" => upstreams.fail("", Some(429)),
            _ => upstreams.refuse(true).await.unwrap(),
        }
        let start = Instant::now();
        let responses = (0..4).map(|_| script(&replica));
        for response in futures_util::future::join_all(responses).await {
            assert_eq!(response, first);
        }
        assert!(start.elapsed() < Duration::from_secs(3), "{fault}");
        upstreams.delay("", Duration::ZERO);
        upstreams.fail("", None);
        upstreams.refuse(false).await.unwrap();
        wait_for_call(&replica, &upstreams, TEST_SCRIPT).await;
    }
}

#[tokio::test]
async fn without_a_cached_script_an_unavailable_github_is_503() {
    let (database, upstreams, settings) = setup(&[]).await;
    upstreams.refuse(true).await.unwrap();
    let replica = Replica::new(&[&settings]);
    let response = autoreduce(&replica).await;
    assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE);
    let sql = "SELECT count(*) FROM runs WHERE filename = 'f.nxs'";
    let row = database.client().await.query_one(sql, &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 0);
}

#[tokio::test]
async fn a_failed_commit_lookup_stores_no_sha() {
    let (database, upstreams, settings) = setup(&[]).await;
    upstreams.fail("/repos", Some(403));
    let replica = Replica::new(&[&settings]);
    script(&replica).await;
    let sql = "SELECT sha FROM scripts ORDER BY id DESC LIMIT 1";
    let row = database.client().await.query_one(sql, &[]).await.unwrap();
    assert_eq!(row.get::<_, Option<&str>>(0), None);
}

#[tokio::test]
async fn a_script_copy_survives_restarts_for_a_day() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    let (_database, upstreams, settings) = setup(&[("SCRIPT_DIR", dir)]).await;
    let first = script(&Replica::new(&[&settings])).await;
    upstreams.refuse(true).await.unwrap();
    assert_eq!(script(&Replica::new(&[&settings])).await, first);
    age(
        &folder.path().join("TEST.json"),
        Duration::from_secs(24 * 60 * 60 + 1),
    );
    let old = autoreduce(&Replica::new(&[&settings])).await;
    assert_eq!(old.status, StatusCode::SERVICE_UNAVAILABLE);
    std::fs::write(folder.path().join("TEST.json"), "{").unwrap();
    let damaged = autoreduce(&Replica::new(&[&settings])).await;
    assert_eq!(damaged.status, StatusCode::SERVICE_UNAVAILABLE);
    upstreams.refuse(false).await.unwrap();
    assert_eq!(script(&Replica::new(&[&settings])).await, first);
}

/// Backdates a cached copy.
fn age(copy: &Path, by: Duration) {
    let mut value: serde_json::Value =
        serde_json::from_slice(&std::fs::read(copy).unwrap()).unwrap();
    let seen = &mut value["seen"]["secs_since_epoch"];
    *seen = json!(seen.as_u64().unwrap() - by.as_secs());
    std::fs::write(copy, value.to_string()).unwrap();
}
