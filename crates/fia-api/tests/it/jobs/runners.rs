//! `GET /jobs/runners`.

use devstack::Valkey;
use serde_json::{Value, json};

use crate::harness::vars;
use crate::jobs::JobsFixture;

const PATH: &str = "/jobs/runners";
const VERSIONS: &str = "/orgs/fiaisis/packages/container/mantid/versions";

fn version(number: usize) -> Value {
    json!({"name": format!("sha256:{number:04}"), "metadata": {"container": {"tags": [format!("6.{number}"), "latest"]}}})
}

#[tokio::test]
async fn all_github_pages_are_fetched_in_order() {
    let fixture = JobsFixture::new().await;
    fixture
        .upstreams
        .set_packages((0..250).rev().map(version).collect());
    let replica = fixture.replica_with(&vars(&[("GITHUB_PACKAGE_TOKEN", "secret")]));
    let body = replica.get(PATH, "user").await.text();
    let images: serde_json::Map<String, Value> = serde_json::from_str(&body).unwrap();
    assert_eq!(images.len(), 250);
    assert!(
        body.starts_with(r#"{"sha256:0249":"6.249","sha256:0248":"6.248""#),
        "{body}"
    );
    assert!(fixture.upstreams.calls(VERSIONS) >= 3);
    let sent = fixture.upstreams.last_authorization(VERSIONS);
    assert_eq!(sent.as_deref(), Some("Bearer secret"));
}

#[tokio::test]
async fn a_github_failure_is_424_unless_a_stale_list_exists() {
    let fixture = JobsFixture::new().await;
    let replica = fixture.replica_with(&vars(&[("GITHUB_PACKAGES_CACHE_TTL_SECONDS", "0")]));
    for status in [404, 500] {
        fixture.upstreams.fail(VERSIONS, Some(status));
        let response = replica.get(PATH, "user").await;
        assert_eq!(response.status, 424);
        assert_eq!(response.text(), "\"Github API request failed \"");
    }
    fixture.upstreams.fail(VERSIONS, None);
    let fresh = replica.get(PATH, "user").await;
    assert_eq!(
        (fresh.status.as_u16(), fresh.header("cache-status")),
        (200, "fia-api; fwd=miss")
    );

    fixture.upstreams.refuse(true).await.unwrap();
    for _ in 0..2 {
        let stale = replica.get(PATH, "user").await;
        assert_eq!(stale.status, 200);
        assert_eq!(stale.text(), fresh.text());
        let status = stale.header("cache-status");
        assert!(status.starts_with("fia-api; hit; ttl=-") && status.ends_with("; detail=stale"));
        assert!(stale.header("age").parse::<u64>().is_ok());
    }
}

#[tokio::test]
async fn the_github_payload_is_shared_through_valkey() {
    let fixture = JobsFixture::new().await;
    let valkey = Valkey::start().await.unwrap();
    let replica = fixture.replica_with(&vars(&[("VALKEY_URL", &valkey.url())]));
    replica.wait_for_shared_level().await;
    let ours = replica.get(PATH, "user").await;
    let client = redis::Client::open(valkey.url()).unwrap();
    let mut redis = client.get_multiplexed_async_connection().await.unwrap();
    let key = "fia_api:github:packages:fiaisis:mantid";
    let stored: String = redis::cmd("GET")
        .arg(key)
        .query_async(&mut redis)
        .await
        .unwrap();
    let stored: Value = serde_json::from_str(&stored).unwrap();
    assert_eq!(
        stored[0]["metadata"]["container"]["tags"][0],
        ours.json()["sha256:0000000000000000000000000000000000000000000000000000000000000001"]
    );

    let theirs =
        r#"[{"name": "sha256:\u00fc", "metadata": {"container": {"tags": ["1"]}}, "id": 1}]"#;
    let () = redis::cmd("SETEX")
        .arg(key)
        .arg(60)
        .arg(theirs)
        .query_async(&mut redis)
        .await
        .unwrap();
    assert_eq!(
        replica.get(PATH, "user").await.text(),
        r#"{"sha256:ü":"1"}"#
    );
    // A payload of another shape is a miss.
    let () = redis::cmd("SETEX")
        .arg(key)
        .arg(60)
        .arg(r#"{"a": 1}"#)
        .query_async(&mut redis)
        .await
        .unwrap();
    assert_eq!(replica.get(PATH, "user").await.text(), ours.text());
}
