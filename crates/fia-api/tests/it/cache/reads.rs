//! Misses, hits and payloads of the cached reads.

use std::time::Duration;

use http::StatusCode;
use redis::AsyncCommands as _;
use serde_json::{Value, json};

use crate::cache::{
    INSTRUMENTS, LATEST_RUN, OF_AN_INSTRUMENT, SCRIPT, SPECIFICATION, body, set, stats,
};
use crate::harness::{Fixture, eventually, vars};

#[tokio::test]
async fn a_miss_fills_and_a_hit_runs_no_query() {
    let fixture = Fixture::new().await;
    let replica = fixture.replica().await;
    let mut redis = fixture.redis().await;
    for read in [SCRIPT, SPECIFICATION, LATEST_RUN, INSTRUMENTS] {
        set(&fixture, &read, &json!("one é \"x\""), "MARI").await;
        let expected = (read.body)(&json!("one é \"x\""));
        assert_eq!(body(&replica, &read.path("MARI")).await, expected);

        let stored: String = redis.get(read.key("MARI")).await.unwrap();
        assert_eq!(
            stored,
            (read.payload)(&json!("one é \"x\"")).to_string(),
            "{}",
            read.namespace
        );
        let ttl: i64 = redis.ttl(read.key("MARI")).await.unwrap();
        assert!(
            (read.ttl - 1..=read.ttl).contains(&ttl),
            "{}: ttl {ttl}",
            read.namespace
        );

        // Names are case-insensitive, and the entry hides the changed row.
        if read.namespace != INSTRUMENTS.namespace {
            set(&fixture, &read, &json!("two"), "MARI").await;
            assert_eq!(body(&replica, &read.path("mArI")).await, expected);
        }
        assert_eq!(body(&replica, &read.path("mari")).await, expected);
        assert_eq!(stats(&replica, &read).loads, 1, "{}", read.namespace);
    }
}

#[tokio::test]
async fn a_cached_null_is_a_hit() {
    let fixture = Fixture::new().await;
    let replica = fixture.replica().await;
    for read in OF_AN_INSTRUMENT {
        set(&fixture, &read, &Value::Null, "MARI").await;
        let none = (read.body)(&Value::Null);
        assert_eq!(body(&replica, &read.path("MARI")).await, none);
        set(&fixture, &read, &json!("now there is one"), "MARI").await;
        assert_eq!(
            body(&replica, &read.path("MARI")).await,
            none,
            "{}",
            read.namespace
        );
        assert_eq!(stats(&replica, &read).hits, 1);
    }
}

/// The legacy server writes spaces and escapes.
#[tokio::test]
async fn a_legacy_entry_is_served_in_canonical_json() {
    let fixture = Fixture::new().await;
    let replica = fixture.replica().await;
    let mut redis = fixture.redis().await;
    for (read, payload, served) in [
        (
            SCRIPT,
            r#"{"script": "\u00e9 \u2603\n\ud83d\ude00"}"#,
            r#""é ☃\n😀""#,
        ),
        (SCRIPT, r#"{"script": null}"#, "null"),
        (
            SPECIFICATION,
            r#"{"specification": {"b": [1, 2.0], "a": 1e-05}}"#,
            r#"{"b":[1,2.0],"a":1e-05}"#,
        ),
        (
            LATEST_RUN,
            r#"{"latest_run": "MAR1"}"#,
            r#"{"latest_run":"MAR1"}"#,
        ),
        (INSTRUMENTS, r#"["MARI", "\u00dc"]"#, r#"["MARI","Ü"]"#),
        (INSTRUMENTS, "[]", "[]"),
    ] {
        let _: () = redis.set_ex(read.key("MARI"), payload, 100).await.unwrap();
        let response = replica.get(&read.path("mari"), "apikey").await;
        assert_eq!(response.text(), served, "{payload}");
        assert_eq!(stats(&replica, &read).loads, 0, "{payload}");
    }
}

#[tokio::test]
async fn an_invalid_entry_is_a_miss_and_is_replaced() {
    let fixture = Fixture::new().await;
    let replica = fixture.replica().await;
    let mut redis = fixture.redis().await;
    for read in [SCRIPT, SPECIFICATION, LATEST_RUN, INSTRUMENTS] {
        set(&fixture, &read, &json!("good"), "MARI").await;
        let key = read.key("MARI");
        let good = (read.payload)(&json!("good")).to_string();
        let not_json = ["", "{", "nul", "{\"a\":1}x", "NaN", "{\"script\":NaN}"];
        let of_another_shape = ["5", "\"x\"", "true"];
        for payload in not_json
            .iter()
            .chain(&of_another_shape)
            .chain(read.misshapen)
        {
            let _: () = redis.set_ex(&key, *payload, 100).await.unwrap();
            let response = body(&replica, &read.path("MARI")).await;
            assert_eq!(response, (read.body)(&json!("good")), "{key} {payload}");
            let stored: String = redis.get(&key).await.unwrap();
            assert_eq!(stored, good, "{key} {payload}");
        }
        let _: () = redis.del(&key).await.unwrap();
        let _: () = redis.lpush(&key, "a list").await.unwrap();
        assert_eq!(
            body(&replica, &read.path("MARI")).await,
            (read.body)(&json!("good")),
            "{key}"
        );
        let stored: String = redis.get(&key).await.unwrap();
        assert_eq!(stored, good, "{key}");
    }
}

#[tokio::test]
async fn an_unknown_instrument_is_not_cached() {
    let fixture = Fixture::new().await;
    let replica = fixture.replica().await;
    let mut redis = fixture.redis().await;
    for read in OF_AN_INSTRUMENT {
        let response = replica.get(&read.path("nosuch"), "staff").await;
        assert_eq!(response.status, StatusCode::NOT_FOUND);
        let stored: Option<String> = redis.get(read.key("NOSUCH")).await.unwrap();
        assert_eq!(stored, None, "{}", read.namespace);
    }
}

#[tokio::test]
async fn sixty_concurrent_misses_run_one_query() {
    let fixture = Fixture::new().await;
    let replica = fixture.replica().await;
    for read in [SCRIPT, SPECIFICATION, LATEST_RUN, INSTRUMENTS] {
        let path = read.path("MARI");
        let requests = (0..60).map(|_| replica.get(&path, "staff"));
        for response in futures_util::future::join_all(requests).await {
            assert_eq!(response.status, StatusCode::OK);
        }
        assert_eq!(stats(&replica, &read).loads, 1, "{}", read.namespace);
    }
}

/// Takes over a second: the shortest TTL is one second.
#[tokio::test]
async fn entries_expire_after_their_ttl() {
    let fixture = Fixture::new().await;
    let short = vars(&[("INSTRUMENT_LATEST_RUN_CACHE_TTL_SECONDS", "1")]);
    let replica = fixture.replica_with(&short).await;
    set(&fixture, &LATEST_RUN, &json!("1"), "MARI").await;
    body(&replica, "/instrument/MARI/latest-run").await;
    set(&fixture, &LATEST_RUN, &json!("2"), "MARI").await;
    eventually(Duration::from_secs(3), async || {
        body(&replica, "/instrument/MARI/latest-run").await == json!({"latest_run": "2"})
    })
    .await;
}

/// A peer's entry without its member is no value: of the latest run a miss, of the others `null`,
/// as the legacy server reads it.
#[tokio::test]
async fn a_payload_without_its_member_is_a_miss_for_the_latest_run() {
    let fixture = Fixture::new().await;
    let replica = fixture.replica().await;
    let mut redis = fixture.redis().await;
    let other = r#"{"other": 1}"#;
    for key in [
        "fia_api:instrument:latest_run:MARI",
        "fia_api:instrument:spec:MARI",
        "fia_api:live_data:script:MARI",
    ] {
        let () = redis.set_ex(key, other, 30).await.unwrap();
    }
    let client = fixture.database.client().await;
    client
        .batch_execute("UPDATE instruments SET latest_run = '77' WHERE instrument_name = 'MARI'")
        .await
        .unwrap();
    let run = replica.get("/instrument/MARI/latest-run", "apikey").await;
    assert_eq!(run.json(), json!({"latest_run": "77"}));
    let stored: String = redis
        .get("fia_api:instrument:latest_run:MARI")
        .await
        .unwrap();
    assert_eq!(stored, r#"{"latest_run":"77"}"#, "the entry is replaced");
    for path in ["/instrument/MARI/specification", "/live-data/MARI/script"] {
        assert_eq!(replica.get(path, "apikey").await.text(), "null", "{path}");
    }
}
