//! The table of keys equals what Valkey says of them.

use http::StatusCode;
use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};

use crate::harness::{Fixture, vars};
use crate::operator::{LATEST_RUN, Operated, SPECIFICATION, ask};

/// The cache is in another database of the server than the first.
#[tokio::test]
async fn keys_are_shown_with_size_ttl_and_writer_as_valkey_has_them() {
    let fixture = Fixture::new().await;
    let url = format!("redis://{}/5", fixture.valkey.addr());
    let page = Operated::with(&fixture, &vars(&[("VALKEY_URL", &url)])).await;
    let client = redis::Client::open(url).unwrap();
    let mut redis = client.get_multiplexed_async_connection().await.unwrap();
    // As the older server writes them.
    for (key, payload) in [
        (
            "fia_api:instrument:spec:LET",
            r#"{"specification": {"a": 1}}"#,
        ),
        (
            "fia_api:instrument:latest_run:LET",
            r#"{"latest_run": null}"#,
        ),
    ] {
        let () = ask(&mut redis, &["SETEX", key, "60", payload]).await;
    }
    let () = ask(&mut redis, &["LPUSH", "fia_api:instrument:spec:OTHER", "x"]).await;
    for path in [
        LATEST_RUN,
        SPECIFICATION,
        "/instrument/LET/specification",
        "/instrument/MARI/jobs?limit=5",
        "/jobs/count",
        "/jobs/runners",
    ] {
        assert_eq!(
            page.replica.get(path, "staff").await.status,
            StatusCode::OK,
            "{path}"
        );
    }
    let rows = page.json("/?key=fia_api").await["keys"]["rows"].clone();
    let rows = rows.as_array().unwrap();
    let size: usize = ask(&mut redis, &["DBSIZE"]).await;
    // Two groups, and the fleet's set and line.
    assert_eq!(rows.len(), size - 4, "{rows:?}");
    for row in rows {
        assert_as_in_valkey(row, &mut redis).await;
    }
    let writers = [
        ("fia_api:instrument:spec:LET", json!("older")),
        ("fia_api:instrument:latest_run:LET", json!("older")),
        ("fia_api:instrument:spec:MARI", json!("this")),
        ("fia_api:jobs:list:", json!("this")),
        ("fia_api:jobs:count:", json!("this")),
        ("fia_api:github:packages:", Value::Null),
        ("fia_api:instrument:spec:OTHER", Value::Null),
    ];
    for (key, writer) in writers {
        let row = rows
            .iter()
            .find(|row| row["key"].as_str().unwrap().starts_with(key));
        assert_eq!(row.unwrap()["stored_by"], writer, "{key}");
    }
    let html = page.html("/?key=spec:LET").await;
    assert!(html.contains("data-kind=\"older\"") && !html.contains("specification\":"));
}

/// Asserts that a row is what the server that has the key says.
pub(super) async fn assert_as_in_valkey(row: &Value, redis: &mut MultiplexedConnection) {
    let key = row["key"].as_str().unwrap();
    let kind: String = ask(redis, &["TYPE", key]).await;
    if kind != "string" {
        assert_eq!(
            (&row["valkey"], &row["valkey_bytes"]),
            (&json!("other type"), &Value::Null)
        );
        return;
    }
    let (bytes, pttl): (u64, f64) = (
        ask(redis, &["STRLEN", key]).await,
        ask(redis, &["PTTL", key]).await,
    );
    assert_eq!(
        (&row["valkey"], &row["valkey_bytes"]),
        (&json!("payload"), &json!(bytes)),
        "{key}"
    );
    let shown = row["valkey_ttl_seconds"].as_f64().unwrap();
    assert!(
        (0.0..2.0).contains(&(shown - pttl / 1e3)),
        "{key}: {shown} s, {pttl} ms"
    );
}
