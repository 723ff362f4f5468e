//! The invalidation of a whole namespace.

use std::time::Duration;

use devstack::Valkey;
use tiercache::Cache;

use crate::support::{
    Fixture, Front, Gate, MEMORY, Raw, Rows, TTL, cache, enqueue, foreign_marker, loaded,
    local_config, long_timeouts, no_load, payload, shared_hit, wait_until, with_prefix,
};

#[limited::test]
async fn every_entry_of_the_namespace_is_invalidated_and_no_other() {
    let fixture = Fixture::with(|url| Cache::builder(url).memory(MEMORY)).await;
    // More than one step of an iteration; the prefix has characters of a pattern.
    let rows = Rows::build(with_prefix(&fixture.cache, "test:[a-z]*?\\:", TTL));
    let names: Vec<String> = (0..2_500).map(|i| i.to_string()).collect();
    for name in &names {
        fixture.raw.set(rows.key(name).as_str(), payload(1)).await;
    }
    fixture.raw.set("test:row:MARI", payload(1)).await;
    fixture.raw.set("test:abc:MARI", "another program's").await;
    for name in ["0", "7"] {
        assert_eq!(rows.get_or_load(name, no_load).await, shared_hit(1));
        assert_eq!(rows.get_local(name), Some(1));
    }
    rows.invalidate_all().await;
    assert_eq!(rows.get_local("0"), None);
    for name in &names {
        let left = fixture.raw.get(rows.key(name).as_str()).await;
        assert!(left.is_none_or(|left| left == b"null"), "{name}");
    }
    assert_eq!(fixture.get().await, shared_hit(1));
    let other = fixture.raw.get("test:abc:MARI").await.unwrap();
    assert_eq!(other, b"another program's");
}

#[limited::test]
async fn a_load_that_began_before_does_not_fill_and_a_fence_stays() {
    let fixture = Fixture::new().await;
    let database = fixture.database.clone();
    let (mut gate, load) = Gate::after(move || Ok(database.select()));
    let request = enqueue(&fixture.rows, load);
    gate.entered().await;
    let fence = foreign_marker(b'\n');
    fixture.raw.set("test:row:LET", &fence).await;
    fixture.rows.invalidate_all().await;
    gate.open();
    assert_eq!(request.await.unwrap(), loaded(0));
    let left = fixture.raw.get("test:row:LET").await.unwrap();
    assert_eq!(left[..68], fence[..68]);
    assert_eq!(
        fixture.get().await,
        loaded(0),
        "the load before was not stored"
    );
}

#[limited::test]
async fn without_a_shared_level_the_local_entries_are_removed() {
    let builder = Cache::local_builder().memory(MEMORY);
    let cache = builder.connect().unwrap();
    let rows = Rows::build(local_config(&cache, TTL).unshared());
    rows.get_or_load("MARI", async || Ok(1)).await.unwrap();
    rows.invalidate_all().await;
    assert_eq!(rows.get_or_load("MARI", async || Ok(2)).await, loaded(2));
}

#[limited::test]
async fn while_valkey_is_unavailable_the_namespace_bypasses_it_until_it_is_invalidated() {
    let fixture = Fixture::new().await;
    let fast = |url| long_timeouts(url).heartbeat(Duration::from_millis(20));
    let replica = fixture.replica(fast).await;
    fixture.get().await.unwrap();
    // SCAN is refused, so the rest of Valkey stays available.
    fixture.raw.set_acl(b"-scan").await;
    replica.rows.invalidate_all().await;
    assert_eq!(replica.cache.stats().pending_invalidations, 1);
    let read = replica.rows.get_or_load("MARI", async || Ok(1)).await;
    assert_eq!(read, loaded(1), "bypassed");
    fixture.raw.set_acl(b"+scan").await;
    wait_until("the retry", async || {
        replica.cache.stats().pending_invalidations == 0
    })
    .await;
    assert!(replica.cache.is_shared_level_up());
    let read = replica.rows.get_or_load("MARI", async || Ok(1)).await;
    assert_eq!(read, loaded(1), "invalidated");
    let read = replica.rows.get_or_load("MARI", no_load).await;
    assert_eq!(read, shared_hit(1));
}

/// The promoted server has a value from before.
#[limited::test]
async fn it_is_repeated_if_a_failover_loses_it() {
    let (primary, promoted) = (
        Valkey::start().await.unwrap(),
        Valkey::start().await.unwrap(),
    );
    let front = Front::switched(primary.addr()).await;
    let settings = long_timeouts(front.url()).heartbeat(Duration::from_millis(20));
    let (_cache, rows) = cache(settings).await;
    let key = rows.key("MARI");
    let raw = Raw::connect(&promoted).await;
    raw.set(key.as_str(), payload(0)).await;
    Raw::connect(&primary)
        .await
        .set(key.as_str(), payload(0))
        .await;
    assert_eq!(rows.get_or_load("MARI", no_load).await, shared_hit(0));
    rows.invalidate_all().await;
    primary.kill();
    front.switch_to(promoted.addr());
    wait_until("the repeated invalidation", async || {
        let read = rows.get_or_load("MARI", async || Ok(1)).await;
        assert_ne!(read, shared_hit(0), "bypassed until then");
        read == shared_hit(1)
    })
    .await;
}
