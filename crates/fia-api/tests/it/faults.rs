//! Valkey or PostgreSQL away, silent and back: what a client sees of it.

use std::time::{Duration, Instant};

use devstack::{Postgres, Valkey};
use http::StatusCode;
use serde_json::{Value, json};
use tiercache::SharedLevel;

use crate::harness::{Answer, Database, Replica, eventually, vars};

const PATH: &str = "/instrument/MARI/latest-run";

async fn latest_run(replica: &Replica) -> Value {
    let answer = replica.get(PATH, "apikey").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.json()
}

async fn put(replica: &Replica, run: &str) {
    let answer = replica
        .put(PATH, "apikey", &json!({"latest_run": run}))
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
}

fn hits(replica: &Replica) -> u64 {
    replica
        .state
        .cached
        .statistics()
        .classes
        .iter()
        .map(|class| class.hits)
        .sum()
}

/// Reads until one is answered from Valkey.
async fn hits_again(replica: &Replica, limit: Duration) {
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
async fn valkey_may_come_after_the_server() {
    let (database, valkey) = with_valkey().await;
    valkey.kill();
    let replica = replica(&database, &valkey);
    put(&replica, "1").await;
    assert_eq!(latest_run(&replica).await, json!({"latest_run": "1"}));
    assert_eq!(replica.get("/ready", "none").await.status, StatusCode::OK);
    valkey.restart().await.unwrap();
    hits_again(&replica, Duration::from_secs(2)).await;
}

#[tokio::test]
async fn a_valkey_that_dies_costs_nothing_but_its_hits() {
    let (database, valkey) = with_valkey().await;
    let replica = replica(&database, &valkey);
    replica.shared_level_is_up().await;
    hits_again(&replica, Duration::from_secs(2)).await;
    for round in 0..3 {
        valkey.kill();
        for run in ["a", "b"] {
            let run = format!("{run}{round}");
            put(&replica, &run).await;
            assert_eq!(latest_run(&replica).await, json!({ "latest_run": run }));
        }
        valkey.restart().await.unwrap();
        hits_again(&replica, Duration::from_secs(2)).await;
    }
}

/// Reads with 16 clients while something is done; the slowest answer, all being 200.
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

/// Takes over a second: for so long Valkey is frozen.
#[tokio::test]
async fn a_frozen_valkey_is_left_alone() {
    let (database, valkey) = with_valkey().await;
    let replica = replica(&database, &valkey);
    replica.shared_level_is_up().await;
    hits_again(&replica, Duration::from_secs(2)).await;
    let slowest = slowest_read_during(&replica, async {
        valkey.pause().unwrap();
        tokio::time::sleep(Duration::from_millis(1500)).await;
        valkey.resume().unwrap();
    })
    .await;
    assert!(slowest < Duration::from_millis(300), "{slowest:?}");
    hits_again(&replica, Duration::from_secs(2)).await;
}

#[tokio::test]
async fn a_write_that_valkey_did_not_hear_of_is_made_up_for() {
    let (database, valkey) = with_valkey().await;
    let (writer, other) = (replica(&database, &valkey), replica(&database, &valkey));
    writer.shared_level_is_up().await;
    other.shared_level_is_up().await;
    put(&writer, "old").await;
    hits_again(&other, Duration::from_secs(2)).await;
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
    // From now on the old value is in Valkey, until the writer has made up for it.
    eventually(Duration::from_secs(2), async || {
        assert_eq!(latest_run(&writer).await, json!({"latest_run": "new"}));
        let owed = writer.state.cached.statistics().owed_invalidations;
        latest_run(&other).await == json!({"latest_run": "new"}) && owed == 0
    })
    .await;
}

/// A database of the test's own server, which it may break.
async fn own_database() -> (Postgres, Replica) {
    let server = Postgres::start().await.unwrap();
    let database = vars(&[
        ("DB_IP", "127.0.0.1"),
        ("DB_PORT", &server.port().to_string()),
        ("DB_PASSWORD", Postgres::PASSWORD),
        // What is last known would be an answer, too.
        ("CACHE_MAX_STALE_SECONDS", "0"),
    ]);
    let replica = Replica::new(&[&database]);
    assert_eq!(replica.get(PATH, "apikey").await.status, StatusCode::OK);
    (server, replica)
}

fn assert_unavailable(answer: &Answer) {
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.text(), r#"{"detail":"Service Unavailable"}"#);
    assert_eq!(answer.header("retry-after"), "1");
}

#[tokio::test]
async fn a_database_that_dies_is_503_until_it_is_back() {
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

/// Takes some seconds: for so long an answer is awaited.
#[tokio::test]
async fn a_database_that_is_silent_is_503_within_five_seconds() {
    let (server, replica) = own_database().await;
    server.pause().unwrap();
    let start = Instant::now();
    let asked = (0..50).map(|i| {
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
    let (answers, ()) = tokio::join!(futures_util::future::join_all(asked), probe);
    answers.iter().for_each(assert_unavailable);
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
async fn what_is_cached_is_served_without_the_database() {
    let (server, valkey) = tokio::join!(Postgres::start(), Valkey::start());
    let (server, valkey) = (server.unwrap(), valkey.unwrap());
    let settings = vars(&[
        ("DB_IP", "127.0.0.1"),
        ("DB_PORT", &server.port().to_string()),
        ("VALKEY_URL", &valkey.url()),
    ]);
    let replica = Replica::new(&[&settings]);
    replica.shared_level_is_up().await;
    let before = latest_run(&replica).await;
    server.kill();
    assert_eq!(latest_run(&replica).await, before);
    assert_eq!(
        replica.state.cached.statistics().shared_level,
        SharedLevel::Up
    );
}
