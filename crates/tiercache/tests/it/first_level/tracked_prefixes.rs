//! Tracked prefixes: derived from the namespaces that are shared and kept in memory.

use tiercache::{Cache, LocalPolicy, Namespace, NamespaceConfig};

use super::*;
use crate::support::spec;

/// As [`kept`], under another prefix.
fn kept_under(prefix: &'static str) -> NamespaceConfig<u64, DbError> {
    NamespaceConfig {
        prefix,
        ..kept(TTL)
    }
}

/// A cache with memory and no namespace yet.
async fn empty(stage: &Stage) -> Cache {
    let cache = Cache::new(keeping(stage.valkey.url())).unwrap();
    cache.wait_for_shared_level(true).await;
    cache
}

async fn tracked_prefixes(raw: &Raw) -> u64 {
    let info: String = raw.run(&[b"INFO", b"stats"]).await;
    let mut lines = info.lines();
    let count = lines.find_map(|line| line.strip_prefix("tracking_total_prefixes:"));
    count.unwrap().parse().unwrap()
}

/// A change made by another client is visible long before the TTL expires.
async fn follows_foreign_writes(rows: &Namespace<u64, DbError>, key: &str, stage: &Stage) {
    for version in [7, 8] {
        stage.raw.set(key, payload(version)).await;
        until("a local hit with the foreign value", async || {
            rows.get_or_load(NAME, stage.database.loader()).await == local_hit(version)
        })
        .await;
    }
}

#[tokio::test]
async fn a_namespace_is_tracked_under_its_own_prefix_only() {
    let stage = Stage::new().await;
    let cache = empty(&stage).await;
    let rows = cache.namespace(kept_under("test:whole:MARI")).unwrap();
    cache.wait_for_tracking().await;
    assert_eq!(tracked_prefixes(&stage.raw).await, 1);
    let get = || rows.get_or_load("", stage.database.loader());
    stage.raw.set("test:whole:MARI", payload(7)).await;
    until("a local hit", async || get().await == local_hit(7)).await;
    stage.raw.set("test:whole:MARI", payload(8)).await;
    until("the new value", async || get().await == local_hit(8)).await;
}

#[tokio::test]
async fn a_prefix_added_after_the_tracker_has_connected_is_tracked() {
    let stage = warm().await;
    assert_eq!(tracked_prefixes(&stage.raw).await, 1);
    let added = stage.cache.namespace(kept_under("other:row:")).unwrap();
    tokio::time::timeout(Duration::from_secs(10), stage.cache.wait_for_tracking())
        .await
        .expect("tracking resumes");
    assert_eq!(tracked_prefixes(&stage.raw).await, 2);
    follows_foreign_writes(&added, "other:row:MARI", &stage).await;
    follows_foreign_writes(&stage.rows, KEY, &stage).await;
}

#[tokio::test]
async fn every_prefix_is_subscribed_again_after_a_reconnection() {
    let stage = warm().await;
    let added = stage.cache.namespace(kept_under("other:row:")).unwrap();
    stage.cache.wait_for_tracking().await;
    for _ in 0..2 {
        let kill: &[&[u8]] = &[b"CLIENT", b"KILL", b"TYPE", b"normal", b"SKIPME", b"yes"];
        stage.raw.run::<u64>(kill).await;
        follows_foreign_writes(&added, "other:row:MARI", &stage).await;
        follows_foreign_writes(&stage.rows, KEY, &stage).await;
    }
}

#[tokio::test]
async fn without_a_namespace_to_track_nothing_is_tracked() {
    let stage = Stage::new().await;
    let cache = empty(&stage).await;
    let rows = cache.namespace(spec(TTL)).unwrap();
    cache.wait_for_tracking().await;
    assert_eq!(cache.stats().tracking, Tracking::Off);
    rows.get_or_load(NAME, stage.database.loader())
        .await
        .unwrap();
    assert_eq!(tracked_prefixes(&stage.raw).await, 0);
}

#[tokio::test]
async fn overlapping_prefixes_of_two_tracked_namespaces_are_refused() {
    let cache = without_shared_level();
    for prefix in ["live:instruments", "live:script:"] {
        cache.namespace(kept_under(prefix)).unwrap();
    }
    for prefix in ["live:", "live:script:MARI", "live:instruments", ""] {
        let error = cache.namespace(kept_under(prefix)).map(drop).unwrap_err();
        assert!(
            error.to_string().contains("overlaps with \"live:"),
            "{error}"
        );
    }
    // These need no tracking.
    cache.namespace(spec(TTL)).unwrap();
    cache.namespace(spec(TTL)).unwrap();
    for _ in 0..2 {
        let local_only = NamespaceConfig {
            is_shared: false,
            ..kept_under("live:")
        };
        cache.namespace(local_only).unwrap();
    }
    let policy: Option<LocalPolicy<u64>> = None;
    let shared_only = NamespaceConfig {
        local: policy,
        ..kept_under("live:")
    };
    cache.namespace(shared_only).unwrap();
}
