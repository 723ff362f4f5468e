//! Unavailable, silent and recovering Valkey and PostgreSQL, as seen by clients.

use std::time::{Duration, Instant};

use devstack::{Postgres, Valkey};
use http::StatusCode;
use serde_json::{Value, json};
use tiercache::{SharedLevel, Tracking};

use crate::harness::{Database, Replica, Response, eventually, vars};

const PATH: &str = "/instrument/MARI/latest-run";

async fn latest_run(replica: &Replica) -> Value {
    let response = replica.get(PATH, "apikey").await;
    assert_eq!(response.status, StatusCode::OK, "{}", response.text());
    response.json()
}

async fn put(replica: &Replica, run: &str) {
    let response = replica
        .put(PATH, "apikey", &json!({"latest_run": run}))
        .await;
    assert_eq!(response.status, StatusCode::OK, "{}", response.text());
}

fn hits(replica: &Replica) -> u64 {
    replica
        .state
        .cached
        .statistics()
        .namespaces
        .iter()
        .map(|namespace| namespace.hits)
        .sum()
}

/// Reads until a hit in Valkey.
async fn wait_for_hit(replica: &Replica, limit: Duration) {
    let before = hits(replica);
    eventually(limit, async || {
        latest_run(replica).await;
        hits(replica) > before
    })
    .await;
}

async fn with_valkey() -> (Database, Valkey) {
    let (database, valkey) = tokio::join!(Database::seeded(), Valkey::start());
    (database, valkey.unwrap())
}

fn replica(database: &Database, valkey: &Valkey) -> Replica {
    Replica::new(&[&database.vars(), &vars(&[("VALKEY_URL", &valkey.url())])])
}

#[tokio::test]
async fn valkey_may_start_after_the_server() {
    let (database, valkey) = with_valkey().await;
    valkey.kill();
    let replica = replica(&database, &valkey);
    put(&replica, "1").await;
    assert_eq!(latest_run(&replica).await, json!({"latest_run": "1"}));
    assert_eq!(replica.get("/ready", "none").await.status, StatusCode::OK);
    valkey.restart().await.unwrap();
    wait_for_hit(&replica, Duration::from_secs(2)).await;
}

#[tokio::test]
async fn an_unavailable_valkey_costs_only_cache_hits() {
    let (database, valkey) = with_valkey().await;
    let replica = replica(&database, &valkey);
    replica.wait_for_shared_level().await;
    wait_for_hit(&replica, Duration::from_secs(2)).await;
    for round in 0..3 {
        valkey.kill();
        for run in ["a", "b"] {
            let run = format!("{run}{round}");
            put(&replica, &run).await;
            assert_eq!(latest_run(&replica).await, json!({ "latest_run": run }));
        }
        valkey.restart().await.unwrap();
        wait_for_hit(&replica, Duration::from_secs(2)).await;
    }
}

/// The slowest read of 16 clients during `doing`. Every response must be 200.
async fn slowest_read_during(replica: &Replica, doing: impl Future<Output = ()>) -> Duration {
    let ended = std::sync::atomic::AtomicBool::new(false);
    let client = async || {
        let mut slowest = Duration::ZERO;
        while !ended.load(std::sync::atomic::Ordering::Relaxed) {
            let start = Instant::now();
            latest_run(replica).await;
            slowest = slowest.max(start.elapsed());
            tokio::task::yield_now().await;
        }
        slowest
    };
    let clients = futures_util::future::join_all((0..16).map(|_| client()));
    let doing = async {
        doing.await;
        ended.store(true, std::sync::atomic::Ordering::Relaxed);
    };
    let (slowest, ()) = tokio::join!(clients, doing);
    slowest.into_iter().max().unwrap_or_default()
}

/// Takes over a second: client tracking counts as lost after a second of silence.
#[tokio::test]
async fn a_frozen_valkey_does_not_slow_requests() {
    let (database, valkey) = with_valkey().await;
    let replica = replica(&database, &valkey);
    replica.wait_for_shared_level().await;
    wait_for_hit(&replica, Duration::from_secs(2)).await;
    let slowest = slowest_read_during(&replica, async {
        valkey.pause().unwrap();
        eventually(Duration::from_secs(5), async || {
            let cache = replica.state.cached.statistics();
            cache.shared_level == SharedLevel::Down && cache.tracking == Tracking::Down
        })
        .await;
        // Reads continue with the circuit breaker open and the local cache bypassed.
        for _ in 0..20 {
            latest_run(&replica).await;
        }
        valkey.resume().unwrap();
    })
    .await;
    assert!(slowest < Duration::from_millis(300), "{slowest:?}");
    wait_for_hit(&replica, Duration::from_secs(2)).await;
}

#[tokio::test]
async fn a_missed_invalidation_is_retried() {
    let (database, valkey) = with_valkey().await;
    let (writer, other) = (replica(&database, &valkey), replica(&database, &valkey));
    writer.wait_for_shared_level().await;
    other.wait_for_shared_level().await;
    put(&writer, "old").await;
    wait_for_hit(&other, Duration::from_secs(2)).await;
    valkey.pause().unwrap();
    let start = Instant::now();
    put(&writer, "new").await;
    assert!(
        start.elapsed() < Duration::from_millis(300),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(latest_run(&writer).await, json!({"latest_run": "new"}));
    valkey.resume().unwrap();
    // Valkey holds the old value until the writer's pending invalidation succeeds.
    eventually(Duration::from_secs(2), async || {
        assert_eq!(latest_run(&writer).await, json!({"latest_run": "new"}));
        let pending = writer.state.cached.statistics().pending_invalidations;
        latest_run(&other).await == json!({"latest_run": "new"}) && pending == 0
    })
    .await;
}

/// A private PostgreSQL, which the test may break, and a replica without stale responses.
async fn own_database() -> (Postgres, Replica) {
    let server = Postgres::start().await.unwrap();
    let database = vars(&[
        ("DB_IP", "127.0.0.1"),
        ("DB_PORT", &server.port().to_string()),
        ("DB_PASSWORD", Postgres::PASSWORD),
        // Stale responses would hide the outage.
        ("CACHE_MAX_STALE_SECONDS", "0"),
    ]);
    let replica = Replica::new(&[&database]);
    assert_eq!(replica.get(PATH, "apikey").await.status, StatusCode::OK);
    (server, replica)
}

fn assert_unavailable(response: &Response) {
    assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.text(), r#"{"detail":"Service Unavailable"}"#);
    assert_eq!(response.header("retry-after"), "1");
}

#[tokio::test]
async fn an_unavailable_database_is_503_until_it_returns() {
    let (server, replica) = own_database().await;
    server.kill();
    for path in [PATH, "/ready", "/live-data/instruments"] {
        assert_unavailable(&replica.get(path, "apikey").await);
    }
    assert_unavailable(
        &replica
            .put(PATH, "apikey", &json!({"latest_run": "x"}))
            .await,
    );
    assert_eq!(replica.get("/healthz", "none").await.status, StatusCode::OK);
    server.restart().await.unwrap();
    eventually(Duration::from_secs(5), async || {
        replica.get("/ready", "none").await.status == StatusCode::OK
    })
    .await;
    assert_eq!(replica.get(PATH, "apikey").await.status, StatusCode::OK);
}

/// Takes some seconds: the pool wait and statement timeouts have to elapse.
#[tokio::test]
async fn a_silent_database_is_503_within_five_seconds() {
    let (server, replica) = own_database().await;
    server.pause().unwrap();
    let start = Instant::now();
    let requests = (0..50).map(|i| {
        let path = format!("/instrument/M{i}/latest-run");
        let replica = &replica;
        async move { replica.get(&path, "apikey").await }
    });
    let probe = async {
        let start = Instant::now();
        assert_eq!(replica.get("/healthz", "none").await.status, StatusCode::OK);
        assert!(
            start.elapsed() < Duration::from_millis(200),
            "{:?}",
            start.elapsed()
        );
    };
    let (responses, ()) = tokio::join!(futures_util::future::join_all(requests), probe);
    responses.iter().for_each(assert_unavailable);
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    server.resume().unwrap();
    let resumed = Instant::now();
    assert_eq!(replica.get(PATH, "apikey").await.status, StatusCode::OK);
    assert!(
        resumed.elapsed() < Duration::from_secs(1),
        "{:?}",
        resumed.elapsed()
    );
}

#[tokio::test]
async fn cached_responses_need_no_database() {
    let (server, valkey) = tokio::join!(Postgres::start(), Valkey::start());
    let (server, valkey) = (server.unwrap(), valkey.unwrap());
    let settings = vars(&[
        ("DB_IP", "127.0.0.1"),
        ("DB_PORT", &server.port().to_string()),
        ("VALKEY_URL", &valkey.url()),
    ]);
    let replica = Replica::new(&[&settings]);
    replica.wait_for_shared_level().await;
    let latest_run = async || {
        let response = replica.get(PATH, "staff").await;
        assert_eq!(response.status, StatusCode::OK, "{}", response.text());
        response.json()
    };
    let before = latest_run().await;
    server.kill();
    assert_eq!(latest_run().await, before);
    assert_eq!(
        replica.state.cached.statistics().shared_level,
        SharedLevel::Up
    );
}
