//! The local level: entries are used exactly while they are current.

mod early_refresh;
mod handles;
mod stale;
mod tracked_prefixes;
mod tracking;
mod verify;

use std::time::Duration;

use devstack::{Direction, Mode};
use tiercache::{Cache, CacheBuilder, Source, Tracking};

use crate::support::{
    Database, DbError, Fixture, Gate, KEY, MEMORY, NAME, Raw, Replica, Rows, TTL, enqueue, loaded,
    local_config, local_hit, local_settings, payload, put, shared_hit, stats,
    wait_for_shared_level, wait_for_tracking, wait_until, with_prefix, within_a_second,
};

/// The default timeouts, with a local level.
fn defaults(url: String) -> CacheBuilder {
    Cache::builder(url).memory(MEMORY)
}

fn without_shared_level() -> Cache {
    Cache::local_builder().memory(MEMORY).connect().unwrap()
}

/// A fixture whose local level has the value.
async fn warm() -> Fixture {
    let fixture = Fixture::with(local_settings).await;
    wait_for_local_hit(&fixture).await;
    fixture
}

async fn wait_for_local_hit(fixture: &Fixture) {
    let version = fixture.database.version();
    wait_until("a local hit", async || {
        fixture.get().await == local_hit(version)
    })
    .await;
}

async fn wait_for_local_hit_on(replica: &Replica, database: &Database) {
    let version = database.version();
    wait_until("a local hit", async || {
        let response = replica.rows.get_or_load(NAME, database.loader()).await;
        assert_eq!(response.clone().unwrap().value, version);
        response == local_hit(version)
    })
    .await;
}

#[limited::test]
async fn a_shared_hit_is_cached_locally_and_a_loaded_value_is_not() {
    let fixture = Fixture::with(local_settings).await;
    assert_eq!(fixture.get().await, loaded(0));
    // The push of this replica's FILL may arrive after the first GET; then GET runs again.
    assert_eq!(fixture.get().await, shared_hit(0));
    wait_for_local_hit(&fixture).await;
    let commands = fixture.raw.calls("get").await;
    for _ in 0..10 {
        assert_eq!(fixture.get().await, local_hit(0));
    }
    assert_eq!(
        fixture.raw.calls("get").await,
        commands,
        "a local hit sends no command"
    );
    assert_eq!(fixture.database.loads(), 1);
}

#[limited::test]
async fn a_read_after_a_write_is_fresh_on_its_replica() {
    let fixture = warm().await;
    for _ in 0..50 {
        let version = fixture.put().await;
        let response = fixture.get().await.unwrap();
        assert_eq!(response.value, version);
        wait_for_local_hit(&fixture).await;
    }
}

#[limited::test]
async fn a_foreign_write_a_deletion_and_a_flush_invalidate() {
    let fixture = warm().await;
    fixture.raw.set(KEY, payload(7)).await;
    wait_until("the foreign value", async || {
        fixture.get().await.unwrap().value == 7
    })
    .await;
    for command in [&[b"FLUSHALL" as &[u8]][..], &[b"DEL", KEY.as_bytes()]] {
        wait_until("a local hit", async || {
            fixture.get().await.unwrap().source == Source::Local
        })
        .await;
        let loads = fixture.database.loads();
        fixture.raw.run::<()>(command).await;
        wait_until("the value to be loaded again", async || {
            fixture.get().await.unwrap();
            fixture.database.loads() > loads
        })
        .await;
    }
}

#[limited::test]
async fn a_local_entry_expires_with_its_shared_entry() {
    let fixture = Fixture::with(local_settings).await;
    fixture
        .raw
        .run::<()>(&[b"SET", KEY.as_bytes(), &payload(7), b"PX", b"400"])
        .await;
    wait_until("a local hit", async || fixture.get().await == local_hit(7)).await;
    // It expires by its deadline, without a push.
    wait_until("the entry to expire", async || {
        fixture.get().await.unwrap().value == 0
    })
    .await;
}

#[limited::test]
async fn a_shared_entry_without_a_ttl_is_not_cached_locally() {
    let fixture = Fixture::with(local_settings).await;
    fixture
        .raw
        .run::<()>(&[b"SET", KEY.as_bytes(), &payload(7)])
        .await;
    for _ in 0..5 {
        assert_eq!(fixture.get().await, shared_hit(7));
    }
}

#[limited::test]
async fn a_key_with_a_pending_invalidation_is_not_cached_locally() {
    let fixture = warm().await;
    // Valkey refuses writes and serves reads.
    fixture
        .raw
        .set_acl(b"-set -setex -evalsha -eval -del")
        .await;
    let version = fixture.put().await;
    for _ in 0..10 {
        assert_eq!(fixture.get().await, loaded(version));
    }
    fixture
        .raw
        .set_acl(b"+set +setex +evalsha +eval +del")
        .await;
    wait_for_local_hit(&fixture).await;
}

#[limited::test]
async fn a_shared_namespace_is_not_cached_locally_without_a_shared_level() {
    let cache = without_shared_level();
    let (rows, database) = (Rows::build(local_config(&cache, TTL)), Database::default());
    for _ in 0..3 {
        assert_eq!(rows.get_or_load(NAME, database.loader()).await, loaded(0));
    }
    assert_eq!(cache.stats().tracking, Tracking::Off);
}

#[limited::test(start_paused = true)]
async fn an_unshared_namespace_is_cached_locally_for_its_ttl() {
    let cache = without_shared_level();
    let alone = local_config(&cache, TTL).unshared();
    let (rows, database) = (Rows::build(alone), Database::default());
    let get = || rows.get_or_load(NAME, database.loader());
    assert_eq!(get().await, loaded(0));
    tokio::time::advance(TTL - Duration::from_secs(1)).await;
    assert_eq!(get().await, local_hit(0));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(get().await, loaded(0));
    let version = put(&rows, &database).await;
    assert_eq!(get().await, loaded(version));
}

#[limited::test]
async fn the_local_level_is_bounded_in_bytes() {
    let fixture = Fixture::with(local_settings).await;
    let large = with_prefix(&fixture.cache, "test:large:", TTL);
    let rows = Rows::build(large.weight(|_| 10_000));
    for i in 0..400 {
        for _ in 0..2 {
            rows.get_or_load(&i.to_string(), fixture.database.loader())
                .await
                .unwrap();
        }
        assert!(fixture.cache.stats().local_bytes <= 1 << 20);
    }
    assert!(fixture.cache.stats().local_entries > 50);
}
