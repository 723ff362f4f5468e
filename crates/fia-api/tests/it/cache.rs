//! The four cached reads and their writes: one table, every rule for each.

use std::time::Duration;

use http::StatusCode;
use redis::AsyncCommands as _;
use serde_json::{Value, json};
use tiercache::NamespaceStats;

use crate::harness::{Fixture, Replica, Vars, vars};

/// A cached read.
struct Read {
    class: &'static str,
    /// `{}` is the instrument's name; likewise in `key`.
    path: &'static str,
    key: &'static str,
    ttl: i64,
    ttl_var: &'static str,
    /// The response body of a value, its payload in Valkey, and the statement that stores it.
    body: fn(&Value) -> Value,
    payload: fn(&Value) -> Value,
    set: &'static str,
    /// The PUT body of a value; `None` for a read-only route.
    put: Option<fn(&Value) -> Value>,
    /// Payloads that are valid JSON of another shape.
    misshapen: &'static [&'static str],
}

fn itself(value: &Value) -> Value {
    value.clone()
}

const SCRIPT: Read = Read {
    class: "live_data_script",
    path: "/live-data/{}/script",
    key: "fia_api:live_data:script:{}",
    ttl: 60,
    ttl_var: "LIVE_DATA_SCRIPT_CACHE_TTL_SECONDS",
    body: itself,
    payload: |value| json!({ "script": value }),
    set: "UPDATE instruments SET live_data_script = $1::text::jsonb #>> '{}' WHERE instrument_name = $2",
    put: Some(|value| json!({ "value": value })),
    misshapen: &[
        "[1]",
        r#"{"script":5}"#,
        r#"{"script": ["a"]}"#,
        r#"{"script":"\ud800"}"#,
    ],
};

const SPECIFICATION: Read = Read {
    class: "specification",
    path: "/instrument/{}/specification",
    key: "fia_api:instrument:spec:{}",
    ttl: 120,
    ttl_var: "INSTRUMENT_SPEC_CACHE_TTL_SECONDS",
    body: |value| object_or_null(value),
    payload: |value| json!({ "specification": object_or_null(value) }),
    set: "UPDATE instruments SET specification = CASE WHEN $1::text = 'null' THEN NULL \
          ELSE jsonb_build_object('v', $1::text::jsonb) END WHERE instrument_name = $2",
    put: Some(object_or_null),
    misshapen: &["[1]", r#"{"specification": "\ud800 "}"#],
};

const LATEST_RUN: Read = Read {
    class: "latest_run",
    path: "/instrument/{}/latest-run",
    key: "fia_api:instrument:latest_run:{}",
    ttl: 15,
    ttl_var: "INSTRUMENT_LATEST_RUN_CACHE_TTL_SECONDS",
    body: |value| json!({ "latest_run": value }),
    payload: |value| json!({ "latest_run": value }),
    set: "UPDATE instruments SET latest_run = $1::text::jsonb #>> '{}' WHERE instrument_name = $2",
    put: Some(|value| json!({ "latest_run": value })),
    misshapen: &["[1]", r#"{"latest_run":5}"#, r#"{"latest_run": {}}"#],
};

/// The value is the whole list: the instrument's new name, or an empty list for null.
const INSTRUMENTS: Read = Read {
    class: "live_data_instruments",
    path: "/live-data/instruments",
    key: "fia_api:live_data:instruments",
    ttl: 120,
    ttl_var: "LIVE_DATA_INSTRUMENTS_CACHE_TTL_SECONDS",
    body: |value| {
        if value.is_null() {
            json!([])
        } else {
            json!([value])
        }
    },
    payload: |value| {
        if value.is_null() {
            json!([])
        } else {
            json!([value])
        }
    },
    set: "UPDATE instruments SET live_data_support = (instrument_name = $2), \
          instrument_name = CASE WHEN instrument_name = $2 AND $1::text <> 'null' \
          THEN $1::text::jsonb #>> '{}' ELSE instrument_name END",
    put: None,
    misshapen: &["{}", "[1]", r#"["A",5]"#, r#"["A",null]"#],
};

/// Wraps a value in an object, as specifications are objects.
fn object_or_null(value: &Value) -> Value {
    if value.is_null() {
        Value::Null
    } else {
        json!({ "v": value })
    }
}

/// The reads of one instrument that have a PUT.
const OF_AN_INSTRUMENT: [Read; 3] = [SCRIPT, SPECIFICATION, LATEST_RUN];

impl Read {
    fn path(&self, instrument: &str) -> String {
        self.path.replace("{}", instrument)
    }

    fn key(&self, instrument: &str) -> String {
        self.key.replace("{}", instrument)
    }
}

/// Changes a value directly in PostgreSQL.
async fn set(fixture: &Fixture, read: &Read, value: &Value, instrument: &str) {
    let client = fixture.database.client().await;
    let changed = client
        .execute(read.set, &[&value.to_string(), &instrument])
        .await
        .unwrap();
    assert!(changed > 0, "no instrument {instrument}");
}

async fn body(replica: &Replica, path: &str) -> Value {
    let response = replica.get(path, "staff").await;
    assert_eq!(
        response.status,
        StatusCode::OK,
        "{path}: {}",
        response.text()
    );
    response.json()
}

fn stats(replica: &Replica, read: &Read) -> NamespaceStats {
    let all = replica.state.cached.statistics().namespaces;
    all.into_iter()
        .find(|class| class.name == read.class)
        .unwrap()
}

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
            read.class
        );
        let ttl: i64 = redis.ttl(read.key("MARI")).await.unwrap();
        assert!(
            (read.ttl - 1..=read.ttl).contains(&ttl),
            "{}: ttl {ttl}",
            read.class
        );

        // Names are case-insensitive, and the entry hides the changed row.
        if read.class != INSTRUMENTS.class {
            set(&fixture, &read, &json!("two"), "MARI").await;
            assert_eq!(body(&replica, &read.path("mArI")).await, expected);
        }
        assert_eq!(body(&replica, &read.path("mari")).await, expected);
        assert_eq!(stats(&replica, &read).loads, 1, "{}", read.class);
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
            read.class
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
        let not_of_the_class = ["5", "\"x\"", "true"];
        for payload in not_json
            .iter()
            .chain(&not_of_the_class)
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
        assert_eq!(stored, None, "{}", read.class);
    }
}

#[tokio::test]
async fn a_put_is_visible_at_once_on_every_replica() {
    let fixture = Fixture::new().await;
    let replicas = [fixture.replica().await, fixture.replica().await];
    for read in OF_AN_INSTRUMENT {
        let put = read.put.unwrap();
        for (i, writer) in replicas.iter().chain(&replicas).enumerate() {
            // Fills every cache with the old value.
            for replica in &replicas {
                body(replica, &read.path("MARI")).await;
            }
            let value = json!(format!("value {i}"));
            let response = writer.put(&read.path("mari"), "apikey", &put(&value)).await;
            assert_eq!(response.status, StatusCode::OK, "{}", response.text());
            for replica in &replicas {
                assert_eq!(
                    body(replica, &read.path("MARI")).await,
                    (read.body)(&value),
                    "{}",
                    read.class
                );
            }
        }
    }
}

#[tokio::test]
async fn a_rejected_put_changes_neither_table_nor_cache() {
    let fixture = Fixture::new().await;
    let replica = fixture.replica().await;
    let mut redis = fixture.redis().await;
    for read in OF_AN_INSTRUMENT {
        set(&fixture, &read, &json!("kept"), "MARI").await;
        body(&replica, &read.path("MARI")).await;
        let before: String = redis.get(read.key("MARI")).await.unwrap();
        let good = (read.put.unwrap())(&json!("lost"));
        for (who, path, sent, status) in [
            ("none", "MARI", &good, 401),
            ("user", "MARI", &good, 403),
            ("staff", "nosuch", &good, 404),
            ("staff", "MARI", &json!([1]), 422),
            (
                "staff",
                "MARI",
                &json!({"value": "a\0", "latest_run": "a\0"}),
                422,
            ),
        ] {
            let response = replica.put(&read.path(path), who, sent).await;
            assert_eq!(response.status, status, "{who} {path} {sent}");
        }
        let after: String = redis.get(read.key("MARI")).await.unwrap();
        assert_eq!(after, before);
        let stored: Option<String> = redis.get(read.key("NOSUCH")).await.unwrap();
        assert_eq!(stored, None);
        let _: () = redis.del(read.key("MARI")).await.unwrap();
        assert_eq!(
            body(&replica, &read.path("MARI")).await,
            (read.body)(&json!("kept"))
        );
    }
}

#[tokio::test]
async fn a_ttl_of_zero_or_less_disables_caching_but_not_invalidation() {
    let fixture = Fixture::new().await;
    let mut redis = fixture.redis().await;
    for ttl in ["0", " -5 "] {
        let off: Vars = OF_AN_INSTRUMENT
            .iter()
            .map(|r| (r.ttl_var.to_owned(), ttl.to_owned()))
            .collect();
        let replica = fixture.replica_with(&off).await;
        for read in OF_AN_INSTRUMENT {
            // Another replica may still have the namespace enabled.
            let other = (read.payload)(&json!("another's")).to_string();
            let _: () = redis.set_ex(read.key("MARI"), other, 100).await.unwrap();
            for value in ["a", "b"] {
                set(&fixture, &read, &json!(value), "MARI").await;
                assert_eq!(
                    body(&replica, &read.path("MARI")).await,
                    (read.body)(&json!(value))
                );
            }
            let put = (read.put.unwrap())(&json!("c"));
            assert_eq!(
                replica.put(&read.path("MARI"), "staff", &put).await.status,
                StatusCode::OK
            );
            let stored: String = redis.get(read.key("MARI")).await.unwrap();
            assert_eq!(stored, "null", "{}", read.class);
        }
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
        assert_eq!(stats(&replica, &read).loads, 1, "{}", read.class);
    }
}

#[tokio::test]
async fn a_traceback_is_served_until_the_script_changes() {
    let fixture = Fixture::new().await;
    let replica = fixture.replica().await;
    let mut redis = fixture.redis().await;
    let path = "/live-data/mari/traceback";
    assert_eq!(body(&replica, path).await, Value::Null);

    let key = "live_data:MARI:traceback";
    let _: () = redis
        .set(key, "Traceback (most recent call last):\n  \"é\"")
        .await
        .unwrap();
    assert_eq!(
        body(&replica, path).await,
        json!("Traceback (most recent call last):\n  \"é\"")
    );

    let script = json!({"value": "print()"});
    assert_eq!(
        replica
            .put("/live-data/mari/script", "staff", &script)
            .await
            .status,
        StatusCode::OK
    );
    assert_eq!(body(&replica, path).await, Value::Null);
    let stored: Option<String> = redis.get(key).await.unwrap();
    assert_eq!(stored.as_deref(), Some("null"));

    assert_eq!(
        body(&replica, "/live-data/nosuch/traceback").await,
        Value::Null
    );
    let without = Replica::new(&[&fixture.database.vars()]);
    assert_eq!(body(&without, path).await, Value::Null);
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
    crate::harness::eventually(Duration::from_secs(3), async || {
        body(&replica, "/instrument/MARI/latest-run").await == json!({"latest_run": "2"})
    })
    .await;
}
