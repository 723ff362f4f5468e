//! Keys and payloads shared with the legacy server.

use redis::AsyncCommands as _;
use serde_json::json;

use crate::jobs::cache::{KEYS, SharedCacheFixture};
use crate::jobs::{JobsFixture, filtered};

#[tokio::test]
async fn keys_and_payloads_match_the_legacy_format() {
    let mut fixture = SharedCacheFixture::new().await;
    let (one, other) = (fixture.replica().await, fixture.replica().await);
    for (path, key) in KEYS {
        let path = &path.replace("{}", "%7B%7D");
        let body = one.get(path, "apikey").await.text();
        let stored: String = fixture.redis.get(key).await.unwrap();
        // JSON ignores the tag of the entry's group.
        assert_eq!(stored.trim_end(), body, "{path}");
        let ttl: i64 = fixture.redis.ttl(key).await.unwrap();
        assert!((14..=15).contains(&ttl), "{path}: {ttl}");
        // The other replica serves the stored entry although the table has changed.
        fixture
            .jobs
            .database
            .client()
            .await
            .execute("DELETE FROM jobs", &[])
            .await
            .unwrap();
        assert_eq!(other.get(path, "staff").await.text(), body, "{path}");
        let refill = "INSERT INTO jobs (state, inputs, owner_id, job_type, run_id) \
                      VALUES ('ERROR', '{}', 1, 'RERUN', 1)";
        fixture
            .jobs
            .database
            .client()
            .await
            .execute(refill, &[])
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn legacy_payloads_are_served_in_canonical_json() {
    let mut fixture = SharedCacheFixture::new().await;
    let replica = fixture.replica_with(&[("JOB_GROUPS", "off")]).await;
    let (path, key) = KEYS[0];
    for (payload, body) in [
        (
            r#"[{"id": 7, "title": "\u00fc", "inputs": {"x": 1e2, "y": null}}]"#,
            r#"[{"id":7,"title":"ü","inputs":{"x":100.0,"y":null}}]"#,
        ),
        ("[]", "[]"),
    ] {
        let () = fixture.redis.set_ex(key, payload, 15).await.unwrap();
        assert_eq!(replica.get(path, "apikey").await.text(), body);
    }
    let fresh = replica.get("/jobs?limit=1&x", "apikey").await;
    for payload in ["null", "{}", "[1]", "[{", r#"[{"a": NaN}]"#] {
        let () = fixture.redis.set_ex(key, payload, 15).await.unwrap();
        let response = replica.get(path, "apikey").await;
        assert_eq!(response.status, 200, "{payload}: {}", fresh.text());
        assert!(
            response.text().starts_with(r#"[{"id":"#),
            "{payload}: {}",
            response.text()
        );
        let stored: String = fixture.redis.get(key).await.unwrap();
        assert_eq!(stored, response.text(), "an invalid entry is replaced");
    }
    let (path, key) = KEYS[3];
    let () = fixture
        .redis
        .set_ex(key, r#"{"count": 5}"#, 15)
        .await
        .unwrap();
    assert_eq!(replica.get(path, "none").await.text(), r#"{"count":5}"#);
}

#[tokio::test]
async fn responses_that_differ_from_the_legacy_server_are_not_shared() {
    let mut fixture = SharedCacheFixture::new().await;
    let replica = fixture.replica().await;
    let by_name = json!({"instrument_in": ["MARI"]});
    for (path, filters, who) in [
        ("/jobs?limit=3", &by_name, "user"),
        ("/jobs?limit=3&as_user=1", &by_name, "staff"),
        ("/jobs?limit=3", &json!({"title": "_"}), "staff"),
        (
            "/instrument/mari/jobs?limit=3",
            &json!({"filename": "%"}),
            "staff",
        ),
        ("/jobs/count", &json!({"title": "\\"}), "none"),
        ("/jobs", &json!({}), "staff"),
        ("/jobs?limit=1001", &json!({}), "staff"),
    ] {
        assert_eq!(replica.get(&filtered(path, filters), who).await.status, 200);
    }
    assert_eq!(fixture.keys().await, ["fia_api:auth:experiments:1234"]);
    for (path, who) in [
        ("/jobs?limit=3", "staff"),
        ("/instrument/mari/jobs?limit=3", "user"),
    ] {
        assert_eq!(
            replica.get(&filtered(path, &by_name), who).await.status,
            200
        );
    }
    assert_eq!(fixture.keys().await.len(), 3);
}

#[tokio::test]
async fn like_metacharacters_match_literally() {
    let fixture = JobsFixture::new().await;
    let replica = fixture.replica();
    let client = fixture.database.client().await;
    let title = "UPDATE runs SET title = $1::text WHERE id = 1";
    for (stored, search_text, found) in [
        ("100% done", "0% D", true),
        ("100x done", "0% D", false),
        ("a_b", "A_B", true),
        ("axb", "a_b", false),
        (r"a\b", r"\", true),
        ("ab", r"a\b", false),
    ] {
        client.execute(title, &[&stored]).await.unwrap();
        let path = filtered(
            "/jobs/count",
            &json!({"title": search_text, "filename": ""}),
        );
        let count = replica.get(&path, "none").await.json()["count"]
            .as_i64()
            .unwrap();
        assert_eq!(count > 0, found, "{search_text} in {stored}");
    }
}

#[tokio::test]
async fn a_large_body_is_served_but_not_cached() {
    let mut fixture = SharedCacheFixture::new().await;
    let replica = fixture.replica().await;
    let client = fixture.jobs.database.client().await;
    let large = "UPDATE jobs SET stacktrace = repeat('x', 200000)";
    client.execute(large, &[]).await.unwrap();
    let response = replica.get("/jobs?limit=10", "staff").await;
    assert!(response.body.len() > 2_000_000);
    assert!(fixture.keys().await.is_empty());
}
