//! Tracked prefixes: derived from the namespaces that are shared and cached locally.

use tiercache::{Cache, LocalPolicy, Namespace, NamespaceConfig};

use super::*;
use crate::support::config;

/// As [`local_config`], under another prefix.
fn with_prefix(prefix: &'static str) -> NamespaceConfig<u64, DbError> {
    NamespaceConfig {
        prefix,
        ..local_config(TTL)
    }
}

/// A cache with a local level and no namespace yet.
async fn without_namespaces(fixture: &Fixture) -> Cache {
    let cache = Cache::new(local_settings(fixture.valkey.url())).unwrap();
    cache.wait_for_shared_level(true).await;
    cache
}

async fn tracked_prefixes(raw: &Raw) -> u64 {
    let info: String = raw.run(&[b"INFO", b"stats"]).await;
    let mut lines = info.lines();
    let count = lines.find_map(|line| line.strip_prefix("tracking_total_prefixes:"));
    count.unwrap().parse().unwrap()
}

/// Asserts that writes by another client are visible long before the TTL expires.
async fn assert_tracked(rows: &Namespace<u64, DbError>, key: &str, fixture: &Fixture) {
    for version in [7, 8] {
        fixture.raw.set(key, payload(version)).await;
        wait_until("a local hit with the foreign value", async || {
            rows.get_or_load(NAME, fixture.database.loader()).await == local_hit(version)
        })
        .await;
    }
}

#[tokio::test]
async fn a_namespace_is_tracked_under_its_own_prefix_only() {
    let fixture = Fixture::new().await;
    let cache = without_namespaces(&fixture).await;
    let rows = cache.namespace(with_prefix("test:whole:MARI")).unwrap();
    cache.wait_for_tracking().await;
    assert_eq!(tracked_prefixes(&fixture.raw).await, 1);
    let get = || rows.get_or_load("", fixture.database.loader());
    fixture.raw.set("test:whole:MARI", payload(7)).await;
    wait_until("a local hit", async || get().await == local_hit(7)).await;
    fixture.raw.set("test:whole:MARI", payload(8)).await;
    wait_until("the new value", async || get().await == local_hit(8)).await;
}

#[tokio::test]
async fn a_prefix_added_after_the_tracker_has_connected_is_tracked() {
    let fixture = warm().await;
    assert_eq!(tracked_prefixes(&fixture.raw).await, 1);
    let added = fixture.cache.namespace(with_prefix("other:row:")).unwrap();
    tokio::time::timeout(Duration::from_secs(10), fixture.cache.wait_for_tracking())
        .await
        .expect("tracking did not resume");
    assert_eq!(tracked_prefixes(&fixture.raw).await, 2);
    assert_tracked(&added, "other:row:MARI", &fixture).await;
    assert_tracked(&fixture.rows, KEY, &fixture).await;
}

#[tokio::test]
async fn every_prefix_is_tracked_again_after_a_reconnect() {
    let fixture = warm().await;
    let added = fixture.cache.namespace(with_prefix("other:row:")).unwrap();
    fixture.cache.wait_for_tracking().await;
    for _ in 0..2 {
        let kill: &[&[u8]] = &[b"CLIENT", b"KILL", b"TYPE", b"normal", b"SKIPME", b"yes"];
        fixture.raw.run::<u64>(kill).await;
        assert_tracked(&added, "other:row:MARI", &fixture).await;
        assert_tracked(&fixture.rows, KEY, &fixture).await;
    }
}

#[tokio::test]
async fn no_prefix_is_tracked_without_a_local_namespace() {
    let fixture = Fixture::new().await;
    let cache = without_namespaces(&fixture).await;
    let rows = cache.namespace(config(TTL)).unwrap();
    cache.wait_for_tracking().await;
    assert_eq!(cache.stats().tracking, Tracking::Off);
    rows.get_or_load(NAME, fixture.database.loader())
        .await
        .unwrap();
    assert_eq!(tracked_prefixes(&fixture.raw).await, 0);
}

#[tokio::test]
async fn overlapping_prefixes_of_two_tracked_namespaces_are_refused() {
    let cache = without_shared_level();
    for prefix in ["live:instruments", "live:script:"] {
        cache.namespace(with_prefix(prefix)).unwrap();
    }
    for prefix in ["live:", "live:script:MARI", "live:instruments", ""] {
        let error = cache.namespace(with_prefix(prefix)).map(drop).unwrap_err();
        assert!(
            error.to_string().contains("overlaps with \"live:"),
            "{error}"
        );
    }
    // Namespaces that are not both shared and local are not tracked, so they may overlap.
    cache.namespace(config(TTL)).unwrap();
    cache.namespace(config(TTL)).unwrap();
    for _ in 0..2 {
        let local_only = NamespaceConfig {
            is_shared: false,
            ..with_prefix("live:")
        };
        cache.namespace(local_only).unwrap();
    }
    let policy: Option<LocalPolicy<u64>> = None;
    let shared_only = NamespaceConfig {
        local: policy,
        ..with_prefix("live:")
    };
    cache.namespace(shared_only).unwrap();
}
