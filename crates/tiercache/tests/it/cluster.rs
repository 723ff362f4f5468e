//! A cluster of three primaries with a replica each: commands by slot, redirections, moving slots,
//! client tracking of every primary, and the failover of one.
//!
//! Each test takes some seconds: the nodes find each other by gossip.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use devstack::{Valkey, ValkeyCluster};
use tiercache::{Cache, CacheBuilder, Source, Tracking};
use tokio::time::Instant;

use crate::support::{
    Database, MEMORY, Raw, Rows, cache, loaded, local_hit, local_settings, payload, put_named,
    shared_hit, wait_for_shared_level, wait_until,
};

/// Names whose keys are on all primaries.
const NAMES: usize = 30;

fn name(i: usize) -> String {
    format!("N{i}")
}

fn key(name: &str) -> String {
    format!("test:row:{name}")
}

async fn start() -> (ValkeyCluster, Cache, Rows) {
    let cluster = ValkeyCluster::start().await.unwrap();
    let (cache, rows) = cache(local_settings(cluster.url())).await;
    (cluster, cache, rows)
}

/// The node that has a key.
async fn owner<'a>(cluster: &'a ValkeyCluster, name: &str) -> (usize, &'a Valkey) {
    let slot = cluster.slot_of(&key(name)).await.unwrap();
    let index = cluster.owner_of(slot).await.unwrap();
    (index, &cluster.servers()[index])
}

async fn wait_for_local_hit(rows: &Rows, name: &str, database: &Database) {
    let version = database.version();
    wait_until("a local hit", async || {
        let read = rows.get_or_load(name, database.loader()).await;
        assert_eq!(read.clone().unwrap().value, version);
        read == local_hit(version)
    })
    .await;
}

#[limited::test]
async fn both_levels_work_on_every_primary_and_changes_are_pushed_by_each() {
    let (cluster, cache, rows) = start().await;
    let (_other_cache, other) = crate::support::cache(local_settings(cluster.url())).await;
    let mut used = [0; 6];
    for i in 0..NAMES {
        let (name, database) = (name(i), Database::default());
        let (index, server) = owner(&cluster, &name).await;
        used[index] += 1;
        assert_eq!(rows.get_or_load(&name, database.loader()).await, loaded(0));
        let raw = Raw::connect(server).await;
        assert_eq!(raw.get(&key(&name)).await.unwrap(), payload(0));
        assert_eq!(
            other.get_or_load(&name, database.loader()).await,
            shared_hit(0)
        );
        wait_for_local_hit(&rows, &name, &database).await;
        wait_for_local_hit(&other, &name, &database).await;

        let version = put_named(&rows, &name, &database).await;
        let read = rows.get_or_load(&name, database.loader()).await;
        assert_eq!(read.unwrap().value, version);
        wait_until("the write on the other replica", async || {
            let read = other.get_or_load(&name, database.loader()).await;
            read.unwrap().value == version
        })
        .await;
        wait_for_local_hit(&other, &name, &database).await;
        // A change by another client.
        raw.set(&key(&name), payload(77)).await;
        wait_until("the foreign value", async || {
            let read = other.get_or_load(&name, database.loader()).await;
            read == local_hit(77)
        })
        .await;
    }
    assert!(used[..3].iter().all(|count| *count > 0), "{used:?}");
    assert!(matches!(cache.stats().tracking, Tracking::Up(_)));
    rows.invalidate_all().await;
    assert_eq!(cache.stats().pending_invalidations, 0);
    for i in 0..NAMES {
        let read = rows
            .get_or_load(&name(i), Database::default().loader())
            .await;
        assert_eq!(read, loaded(0));
    }
}

/// Reads and writes of one row without a pause, until stopped. No read may be older than a write
/// that returned before it began.
async fn load(
    rows: Rows,
    name: String,
    database: Database,
    is_over: Arc<AtomicBool>,
    hits: Arc<AtomicU64>,
) -> u64 {
    let mut reads = 0;
    while !is_over.load(Ordering::Relaxed) {
        reads += 1;
        if reads % 20 == 0 {
            put_named(&rows, &name, &database).await;
        }
        let newest = database.version();
        let read = rows.get_or_load(&name, database.loader()).await;
        let read = read.expect("a read failed");
        assert!(read.value >= newest, "{name}: {read:?}, not {newest}");
        if read.source != Source::Loaded {
            hits.fetch_add(1, Ordering::Relaxed);
        }
        tokio::task::yield_now().await;
    }
    reads
}

#[limited::test]
async fn slots_that_move_under_load_cause_no_errors_and_nothing_stale() {
    let (cluster, cache, rows) = start().await;
    let is_over = Arc::new(AtomicBool::new(false));
    let hits = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..8)
        .map(|i| {
            let (rows, over, hits) = (rows.clone(), Arc::clone(&is_over), Arc::clone(&hits));
            tokio::spawn(load(rows, name(i), Database::default(), over, hits))
        })
        .collect();
    wait_until("hits", async || hits.load(Ordering::Relaxed) > 1_000).await;
    let openings = cache.stats().breaker_openings;
    for i in 0..3 {
        let slot = cluster.slot_of(&key(&name(i))).await.unwrap();
        let from = cluster.owner_of(slot).await.unwrap();
        let before = hits.load(Ordering::Relaxed);
        cluster.move_slot(slot, from, (from + 1) % 3).await.unwrap();
        wait_until("more hits", async || {
            hits.load(Ordering::Relaxed) > before + 1_000
        })
        .await;
    }
    is_over.store(true, Ordering::Relaxed);
    for task in tasks {
        assert!(task.await.expect("a stale value") > 20);
    }
    assert_eq!(cache.stats().breaker_openings, openings);
    // The invalidations of a slot's keys are repeated on its new node, within a heartbeat.
    wait_until("no pending invalidation", async || {
        cache.stats().pending_invalidations == 0
    })
    .await;
    let (_index, server) = owner(&cluster, &name(0)).await;
    let database = Database::default();
    rows.invalidate(&name(0)).await;
    rows.get_or_load(&name(0), database.loader()).await.unwrap();
    let raw = Raw::connect(server).await;
    assert_eq!(raw.get(&key(&name(0))).await.unwrap(), payload(0));
}

/// What the README says of a cluster suffices, with a fence that waits for replicas, while a slot moves.
#[limited::test]
async fn a_user_with_the_minimum_of_permissions() {
    let cluster = ValkeyCluster::start().await.unwrap();
    for server in cluster.servers() {
        let more = "+cluster|nodes +asking +wait";
        Raw::connect(server).await.add_minimal_user(more).await;
    }
    let url = cluster.url().replace("://", "://app:secret@");
    let (cache, rows) = cache(local_settings(url).wait_replicas(1)).await;
    let (database, name) = (Database::default(), name(0));
    let slot = cluster.slot_of(&key(&name)).await.unwrap();
    for _ in 0..2 {
        wait_for_local_hit(&rows, &name, &database).await;
        let from = cluster.owner_of(slot).await.unwrap();
        cluster.move_slot(slot, from, (from + 1) % 3).await.unwrap();
        put_named(&rows, &name, &database).await;
    }
    wait_for_local_hit(&rows, &name, &database).await;
    let stats = crate::support::stats(&cache);
    assert_eq!(
        (stats.fences_unconfirmed, stats.fences_unreplicated),
        (0, 0)
    );
}

/// A cache that is behind a move of slots follows the redirection.
#[limited::test]
async fn a_node_that_joins_with_moved_slots_is_tracked() {
    let (cluster, _cache, rows) = start().await;
    let database = Database::default();
    let (name, slot) = (name(0), cluster.slot_of(&key(&name(0))).await.unwrap());
    wait_for_local_hit(&rows, &name, &database).await;
    let from = cluster.owner_of(slot).await.unwrap();
    let to = (from + 1) % 3;
    cluster.move_slot(slot, from, to).await.unwrap();
    let raw = Raw::connect(&cluster.servers()[to]).await;
    for version in [5, 6] {
        raw.set(&key(&name), payload(version)).await;
        wait_until("the foreign value", async || {
            rows.get_or_load(&name, database.loader()).await == local_hit(version)
        })
        .await;
    }
}

fn defaults(url: String) -> CacheBuilder {
    Cache::builder(url).memory(MEMORY)
}

/// Takes seconds: a primary is replaced 2 s after it was lost. Its replica holds the values from
/// before the writes, as if it lagged behind.
#[limited::test]
async fn after_the_failover_of_a_primary_recent_writes_are_not_undone() {
    let cluster = ValkeyCluster::start().await.unwrap();
    let (cache, rows) = cache(defaults(cluster.url())).await;
    let database = Database::default();
    let name = name(0);
    let (index, primary) = owner(&cluster, &name).await;
    let replica = &cluster.servers()[index + 3];
    rows.get_or_load(&name, database.loader()).await.unwrap();
    let raw = Raw::connect(replica).await;
    raw.run::<()>(&[b"READONLY"]).await;
    wait_until("the value on the replica", async || {
        raw.get(&key(&name)).await == Some(payload(0).to_vec())
    })
    .await;
    // From now on the replica gets nothing.
    let cut: &[&[u8]] = &[b"CONFIG", b"SET", b"primaryauth", b"wrong"];
    raw.run::<()>(cut).await;
    let primary_raw = Raw::connect(primary).await;
    let rules: &[&[u8]] = &[b"ACL", b"SETUSER", b"default", b"-psync", b"-replconf"];
    primary_raw.run::<()>(rules).await;
    let kill: &[&[u8]] = &[b"CLIENT", b"KILL", b"TYPE", b"replica"];
    primary_raw.run::<u64>(kill).await;
    let version = put_named(&rows, &name, &database).await;
    assert_eq!(
        raw.get(&key(&name)).await.unwrap(),
        payload(0),
        "the replica does not lag"
    );
    primary.kill();
    wait_for_shared_level(&cache, false).await;
    assert_eq!(
        rows.get_or_load(&name, database.loader()).await,
        loaded(version)
    );
    wait_until("a promotion", async || {
        let role: String = raw.run(&[b"INFO", b"replication"]).await;
        role.contains("role:master")
    })
    .await;
    let promoted = Instant::now();
    let read = async || rows.get_or_load(&name, database.loader()).await.unwrap();
    wait_until("hits in both levels", async || {
        let read = read().await;
        assert_eq!(read.value, version);
        read.source == Source::Local
    })
    .await;
    assert!(
        promoted.elapsed() < Duration::from_secs(3),
        "{:?}",
        promoted.elapsed()
    );
    assert!(cache.is_shared_level_up());
}
