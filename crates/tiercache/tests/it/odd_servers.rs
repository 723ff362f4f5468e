//! Old servers, other products, and ACLs that forbid commands: each works, or one line says what is
//! lacking. None serves a stale value.

use std::time::Duration;

use devstack::Valkey;
use tiercache::{Source, Tracking};
use tokio::time::Instant;

use crate::support::{
    Database, Front, KEY, NAME, Raw, Rows, TTL, Warnings, cache, config, loaded, local_config,
    local_hit, local_settings, payload, put, shared_hit, stats, wait_for_shared_level, wait_until,
    with_prefix,
};

/// Asserts that both levels work, and that a write ends the values from before.
async fn assert_serves_from_both_levels(rows: &Rows) {
    let database = Database::default();
    let get = async || rows.get_or_load(NAME, database.loader()).await;
    assert_eq!(get().await, loaded(0));
    assert_eq!(get().await, shared_hit(0));
    wait_until("a local hit", async || get().await == local_hit(0)).await;
    let version = put(rows, &database).await;
    assert_eq!(get().await, loaded(version));
}

/// Asserts that only the shared level is used: that a foreign change is visible at once.
async fn assert_serves_from_shared_level_only(rows: &Rows, raw: &Raw) {
    let database = Database::default();
    for version in 1..50 {
        raw.set(KEY, payload(version)).await;
        let get = rows.get_or_load(NAME, database.loader());
        assert_eq!(get.await, shared_hit(version));
    }
}

/// A cache without a wait for tracking.
async fn untracked(url: String) -> (tiercache::Cache, Rows) {
    let settings = local_settings(url).heartbeat(Duration::from_millis(5));
    let cache = settings.connect().unwrap();
    let rows = Rows::build(local_config(&cache, TTL));
    wait_for_shared_level(&cache, true).await;
    (cache, rows)
}

async fn server_without(commands: &[u8]) -> (Valkey, Raw) {
    let valkey = Valkey::start().await.unwrap();
    let raw = Raw::connect(&valkey).await;
    raw.set_acl(commands).await;
    (valkey, raw)
}

#[limited::test]
async fn redis_7_lacks_nothing() {
    let warnings = Warnings::capture();
    let redis = Valkey::start_redis().await.unwrap();
    let (_cache, rows) = cache(local_settings(redis.url())).await;
    assert_serves_from_both_levels(&rows).await;
    assert_eq!(warnings.lines(), [""; 0]);
}

/// As on Redis 6.2, which has no PEXPIRETIME. Takes two seconds: the TTL of an entry in use.
#[limited::test]
async fn without_pexpiretime_nothing_is_refreshed_early_and_one_line_says_so() {
    let warnings = Warnings::capture();
    let (valkey, _raw) = server_without(b"-pexpiretime").await;
    let (cache, rows) = cache(local_settings(valkey.url())).await;
    assert_serves_from_both_levels(&rows).await;
    let short = Rows::build(with_prefix(&cache, "test:short:", Duration::from_secs(2)));
    let (database, began) = (Database::default(), Instant::now());
    wait_until("the second load", async || {
        let read = short.get_or_load(NAME, database.loader()).await.unwrap();
        read.source == Source::Loaded && database.loads() == 2
    })
    .await;
    assert!(
        began.elapsed() >= Duration::from_secs(2),
        "loaded before it expired"
    );
    assert_eq!(cache.stats().namespaces[1].refreshes, 0);
    warnings.assert_one("PEXPIRETIME: no early refresh");
}

#[limited::test]
async fn without_scripts_values_are_read_but_not_stored_and_one_line_says_so() {
    let warnings = Warnings::capture();
    let (valkey, raw) = server_without(b"-eval -evalsha").await;
    let (cache, rows) = cache(local_settings(valkey.url())).await;
    let database = Database::default();
    let get = async || rows.get_or_load(NAME, database.loader()).await;
    for _ in 0..2 {
        assert_eq!(get().await, loaded(0));
    }
    raw.set(KEY, payload(0)).await;
    wait_until("a local hit", async || get().await == local_hit(0)).await;
    let version = put(&rows, &database).await;
    assert_eq!(raw.get(KEY).await.as_deref(), Some(&b"null"[..]));
    assert_eq!(get().await, loaded(version));
    raw.set(KEY, payload(0)).await;
    rows.invalidate(NAME).await;
    assert_eq!(raw.get(KEY).await.as_deref(), Some(&b"null"[..]));
    assert_eq!(cache.stats().pending_invalidations, 0);
    warnings.assert_one("EVAL: values of Valkey are read, none is stored");
}

#[limited::test]
async fn without_evalsha_scripts_are_sent_whole() {
    let warnings = Warnings::capture();
    let (valkey, _raw) = server_without(b"-evalsha").await;
    let (_cache, rows) = cache(local_settings(valkey.url())).await;
    assert_serves_from_both_levels(&rows).await;
    warnings.assert_one("EVALSHA: scripts are sent whole");
}

#[limited::test]
async fn without_client_tracking_only_the_shared_level_is_used_and_one_line_says_so() {
    let warnings = Warnings::capture();
    let (valkey, raw) = server_without(b"-client|tracking").await;
    let (cache, rows) = untracked(valkey.url()).await;
    wait_until("the warning", async || !warnings.lines().is_empty()).await;
    assert_serves_from_shared_level_only(&rows, &raw).await;
    assert_eq!(cache.stats().tracking, Tracking::Down);
    warnings.assert_one("client tracking unavailable: local cache bypassed");
}

/// No RESP3 (`HELLO`), as before Redis 6, and no `BCAST`, as in some other products.
#[limited::test]
async fn without_resp3_or_bcast_only_the_shared_level_is_used_and_one_line_says_so() {
    for (word, by) in [("HELLO", "HELL0"), ("BCAST", "BCASS")] {
        let warnings = Warnings::capture();
        let valkey = Valkey::start().await.unwrap();
        let raw = Raw::connect(&valkey).await;
        let front = Front::replacing(valkey.addr(), word, by).await;
        let (cache, rows) = untracked(front.url()).await;
        wait_until("the warning", async || !warnings.lines().is_empty()).await;
        assert_serves_from_shared_level_only(&rows, &raw).await;
        assert_eq!(cache.stats().tracking, Tracking::Down);
        warnings.assert_one("client tracking unavailable: local cache bypassed");
    }
}

/// The canary proves that commands and tracking lead to the same server.
#[limited::test]
async fn without_info_both_levels_are_used_if_the_servers_are_proved_to_be_one() {
    let warnings = Warnings::capture();
    let (valkey, raw) = server_without(b"-info").await;
    let (cache, rows) = cache(local_settings(valkey.url())).await;
    assert_serves_from_both_levels(&rows).await;
    assert_eq!(warnings.lines(), [""; 0]);
    // New connections are proved again.
    for _ in 0..2 {
        let kill: &[&[u8]] = &[b"CLIENT", b"KILL", b"TYPE", b"normal", b"SKIPME", b"yes"];
        raw.run::<u64>(kill).await;
        raw.set("test:row:LET", payload(7)).await;
        wait_until("a local hit", async || {
            let read = rows.get_or_load("LET", Database::default().loader()).await;
            read == local_hit(7)
        })
        .await;
    }
    drop(cache);
}

/// A load balancer leads commands to one server and client tracking to another: changes are not
/// pushed.
#[limited::test]
async fn without_info_two_servers_are_not_taken_for_one() {
    let warnings = Warnings::capture();
    let (valkey, raw) = server_without(b"-info").await;
    let (other, _raw) = server_without(b"-info").await;
    let front = Front::splitting(valkey.addr(), other.addr()).await;
    let settings = local_settings(front.url()).connect_timeout(Duration::from_millis(500));
    let cache = settings
        .heartbeat(Duration::from_millis(5))
        .connect()
        .unwrap();
    wait_for_shared_level(&cache, true).await;
    let rows = Rows::build(local_config(&cache, TTL));
    wait_until("the warning", async || !warnings.lines().is_empty()).await;
    assert_serves_from_shared_level_only(&rows, &raw).await;
    assert_eq!(cache.stats().tracking, Tracking::Down);
    warnings.assert_one("commands may reach another server than client tracking");
}

/// Takes over a second: the TTL of a value that may be stale.
#[limited::test]
async fn refused_invalidations_end_with_the_ttl_and_are_logged_once_with_their_count() {
    let valkey = Valkey::start().await.unwrap();
    let raw = Raw::connect(&valkey).await;
    let settings = local_settings(valkey.url()).lease(Duration::from_millis(200));
    let cache = settings
        .heartbeat(Duration::from_millis(5))
        .connect()
        .unwrap();
    let rows = Rows::build(config(&cache, Duration::from_secs(1)));
    wait_for_shared_level(&cache, true).await;
    raw.set_acl(b"-eval -evalsha").await;
    let warnings = Warnings::capture();
    let began = Instant::now();
    for name in ["LET", "IRIS", "MARI"] {
        rows.invalidate(name).await;
    }
    assert_eq!(cache.stats().pending_invalidations, 3);
    raw.set(KEY, payload(7)).await;
    let database = Database::default();
    wait_until("the end of the invalidations", async || {
        let read = rows.get_or_load(NAME, database.loader()).await;
        let is_pending = cache.stats().pending_invalidations > 0;
        assert!(!is_pending || read == loaded(0), "{read:?}");
        !is_pending
    })
    .await;
    let elapsed = began.elapsed();
    assert!(elapsed >= Duration::from_millis(1200), "{elapsed:?}");
    assert_eq!(
        rows.get_or_load(NAME, database.loader()).await,
        shared_hit(7)
    );
    assert!(stats(&cache).bypassed_pending > 0);
    let mut lines = warnings.lines();
    lines.retain(|line| line.contains("refuses pending commands"));
    assert!(
        lines.len() == 1 && lines[0].contains("count="),
        "{lines:#?}"
    );
}
