//! Tracked prefixes: derived from the namespaces that are shared and cached locally.

use super::*;
use crate::support::config;

/// A cache with a local level and no namespace yet.
async fn without_namespaces(fixture: &Fixture) -> Cache {
    let cache = local_settings(fixture.valkey.url()).connect().unwrap();
    wait_for_shared_level(&cache, true).await;
    cache
}

async fn tracked_prefixes(raw: &Raw) -> u64 {
    let info: String = raw.run(&[b"INFO", b"stats"]).await;
    let mut lines = info.lines();
    let count = lines.find_map(|line| line.strip_prefix("tracking_total_prefixes:"));
    count.unwrap().parse().unwrap()
}

/// Asserts that writes by another client are visible long before the TTL expires.
async fn assert_tracked(rows: &Rows, key: &str, fixture: &Fixture) {
    for version in [7, 8] {
        fixture.raw.set(key, payload(version)).await;
        wait_until("a local hit with the foreign value", async || {
            rows.get_or_load(NAME, fixture.database.loader()).await == local_hit(version)
        })
        .await;
    }
}

#[limited::test]
async fn a_namespace_is_tracked_under_its_own_prefix_only() {
    let fixture = Fixture::new().await;
    let cache = without_namespaces(&fixture).await;
    let rows = Rows::build(with_prefix(&cache, "test:whole:MARI", TTL));
    wait_for_tracking(&cache).await;
    assert_eq!(tracked_prefixes(&fixture.raw).await, 1);
    let get = || rows.get_or_load("", fixture.database.loader());
    fixture.raw.set("test:whole:MARI", payload(7)).await;
    wait_until("a local hit", async || get().await == local_hit(7)).await;
    fixture.raw.set("test:whole:MARI", payload(8)).await;
    wait_until("the new value", async || get().await == local_hit(8)).await;
}

#[limited::test]
async fn a_prefix_added_after_the_tracker_has_connected_is_tracked() {
    let fixture = warm().await;
    assert_eq!(tracked_prefixes(&fixture.raw).await, 1);
    let added = Rows::build(with_prefix(&fixture.cache, "other:row:", TTL));
    wait_for_tracking(&fixture.cache).await;
    assert_eq!(tracked_prefixes(&fixture.raw).await, 2);
    assert_tracked(&added, "other:row:MARI", &fixture).await;
    assert_tracked(&fixture.rows, KEY, &fixture).await;
}

#[limited::test]
async fn every_prefix_is_tracked_again_after_a_reconnect() {
    let fixture = warm().await;
    let added = Rows::build(with_prefix(&fixture.cache, "other:row:", TTL));
    wait_for_tracking(&fixture.cache).await;
    for _ in 0..2 {
        let kill: &[&[u8]] = &[b"CLIENT", b"KILL", b"TYPE", b"normal", b"SKIPME", b"yes"];
        fixture.raw.run::<u64>(kill).await;
        assert_tracked(&added, "other:row:MARI", &fixture).await;
        assert_tracked(&fixture.rows, KEY, &fixture).await;
    }
}

#[limited::test]
async fn no_prefix_is_tracked_without_a_local_namespace() {
    let fixture = Fixture::new().await;
    let cache = without_namespaces(&fixture).await;
    let rows = Rows::build(config(&cache, TTL));
    wait_for_tracking(&cache).await;
    assert_eq!(cache.stats().tracking, Tracking::Off);
    rows.get_or_load(NAME, fixture.database.loader())
        .await
        .unwrap();
    assert_eq!(tracked_prefixes(&fixture.raw).await, 0);
}

#[limited::test]
async fn overlapping_prefixes_of_two_tracked_namespaces_are_refused() {
    let cache = without_shared_level();
    let _in_use = ["live:instruments", "live:script:"]
        .map(|prefix| Rows::build(with_prefix(&cache, prefix, TTL)));
    for prefix in ["live:", "live:script:MARI", "live:instruments", "l"] {
        let error = with_prefix(&cache, prefix, TTL).build().unwrap_err();
        assert!(
            error.to_string().contains("overlaps with \"live:"),
            "{error}"
        );
    }
    // Namespaces that are not both shared and local are not tracked, so they may overlap.
    Rows::build(config(&cache, TTL));
    Rows::build(config(&cache, TTL));
    for _ in 0..2 {
        Rows::build(with_prefix(&cache, "live:", TTL).unshared());
    }
    Rows::build(with_prefix(&cache, "live:", TTL).shared_only());
}

#[limited::test]
async fn the_prefix_of_a_dropped_namespace_can_be_used_again() {
    let fixture = warm().await;
    drop(Rows::build(with_prefix(&fixture.cache, "other:row:", TTL)));
    let added = Rows::build(with_prefix(&fixture.cache, "other:row:", TTL));
    wait_for_tracking(&fixture.cache).await;
    assert_tracked(&added, "other:row:MARI", &fixture).await;
    assert_eq!(tracked_prefixes(&fixture.raw).await, 2);
}
