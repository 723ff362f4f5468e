//! PUTs: invalidation, rejection, disabled namespaces, tracebacks.

use http::StatusCode;
use redis::AsyncCommands as _;
use serde_json::{Value, json};

use crate::cache::{OF_AN_INSTRUMENT, body, set};
use crate::harness::{Fixture, Replica, Vars};

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
                    read.namespace
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
            assert_eq!(stored, "null", "{}", read.namespace);
        }
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
