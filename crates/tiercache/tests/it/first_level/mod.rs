//! Values in memory: used while they are current, and not a moment longer.

mod away;
mod compared;
mod early_refresh;
mod tracked_prefixes;

use std::time::Duration;

use devstack::{Direction, Mode};
use tiercache::{Cache, CachedValue, Settings, Source, Tracking};

use crate::support::{
    Database, DbError, Gate, KEY, NAME, Neighbour, Raw, Stage, TTL, begin, keeping, kept, loaded,
    local, local_hit, payload, put, quickly, shared, stats, until,
};

/// With the limits of a live service.
fn live(url: String) -> Settings {
    Settings {
        url: Some(url),
        local: local(),
        ..Settings::default()
    }
}

fn without_shared_level() -> Cache {
    Cache::new(Settings {
        local: local(),
        ..Settings::default()
    })
    .unwrap()
}

/// A stage whose memory has the value.
async fn warm() -> Stage {
    let stage = Stage::with(keeping).await;
    remembered(&stage).await;
    stage
}

async fn remembered(stage: &Stage) {
    let version = stage.database.version();
    until("a hit in memory", async || {
        stage.get().await == local_hit(version)
    })
    .await;
}

async fn remembers(neighbour: &Neighbour, database: &Database) {
    let version = database.version();
    until("a hit in memory", async || {
        let answer = neighbour.rows.get_or_load(NAME, database.loader()).await;
        assert_eq!(answer.clone().unwrap().value, version);
        answer == local_hit(version)
    })
    .await;
}

#[tokio::test]
async fn what_the_shared_level_has_is_remembered_not_what_was_loaded() {
    let stage = Stage::with(keeping).await;
    assert_eq!(stage.get().await, loaded(0));
    // The push about one's own FILL may come after the first GET: then there is a second.
    assert_eq!(stage.get().await, shared(0));
    remembered(&stage).await;
    let commands = stage.raw.calls("get").await;
    for _ in 0..10 {
        assert_eq!(stage.get().await, local_hit(0));
    }
    assert_eq!(stage.raw.calls("get").await, commands, "a hit asks nobody");
    assert_eq!(stage.database.loads(), 1);
}

#[tokio::test]
async fn a_write_is_seen_at_once_by_its_replica() {
    let stage = warm().await;
    for _ in 0..50 {
        let version = stage.put().await;
        let answer = stage.get().await.unwrap();
        assert_eq!(answer.value, version);
        remembered(&stage).await;
    }
}

#[tokio::test]
async fn a_write_is_seen_by_others_when_they_are_told() {
    let stage = warm().await;
    let other = stage.neighbour(keeping).await;
    for _ in 0..20 {
        remembers(&other, &stage.database).await;
        let version = stage.put().await;
        until("the other replica has heard of it", async || {
            let answer = other.rows.get_or_load(NAME, stage.database.loader()).await;
            answer.unwrap().value == version
        })
        .await;
    }
}

#[tokio::test]
async fn a_foreign_write_expiry_and_flush_are_seen() {
    let stage = warm().await;
    stage.raw.set(KEY, payload(7)).await;
    until("the foreign value", async || {
        stage.get().await.unwrap().value == 7
    })
    .await;
    for command in [&[b"FLUSHALL" as &[u8]][..], &[b"DEL", KEY.as_bytes()]] {
        until("a hit in memory", async || {
            stage.get().await.unwrap().source == Source::Local
        })
        .await;
        let loads = stage.database.loads();
        stage.raw.run::<()>(command).await;
        until("it is loaded anew", async || {
            stage.get().await.unwrap();
            stage.database.loads() > loads
        })
        .await;
    }
}

#[tokio::test]
async fn the_time_to_live_of_the_shared_level_is_not_extended() {
    let stage = Stage::with(keeping).await;
    stage
        .raw
        .run::<()>(&[b"SET", KEY.as_bytes(), &payload(7), b"PX", b"400"])
        .await;
    until("a hit in memory", async || {
        stage.get().await == local_hit(7)
    })
    .await;
    // No push is needed for it to end, only time.
    until("the end of its life", async || {
        stage.get().await.unwrap().value == 0
    })
    .await;
}

#[tokio::test]
async fn an_entry_without_an_end_is_not_remembered() {
    let stage = Stage::with(keeping).await;
    stage
        .raw
        .run::<()>(&[b"SET", KEY.as_bytes(), &payload(7)])
        .await;
    for _ in 0..5 {
        assert_eq!(stage.get().await, shared(7));
    }
}

/// The value is fetched, then written and told of, and only then remembered.
#[tokio::test]
async fn a_change_between_fetching_and_remembering_is_not_missed() {
    let stage = Stage::with(keeping).await;
    stage.get().await.unwrap();
    let slow = stage.neighbour(keeping).await;
    for _ in 0..20 {
        remembers(&slow, &stage.database).await;
        stage.raw.run::<()>(&[b"DEL", KEY.as_bytes()]).await;
        stage.get().await.unwrap();
        // Its answers come late; what the tracking connection tells comes late, too, but both
        // are let go at once, in whatever order.
        slow.proxy.set(Direction::ToClient, Mode::Hold);
        let request = begin(&slow.rows, stage.database.loader());
        tokio::task::yield_now().await;
        let version = stage.put().await;
        slow.proxy.set(Direction::ToClient, Mode::Pass);
        request.await.unwrap().unwrap();
        until("the new value", async || {
            let answer = slow.rows.get_or_load(NAME, stage.database.loader()).await;
            answer.unwrap().value == version
        })
        .await;
        let answer = slow.rows.get_or_load(NAME, stage.database.loader()).await;
        assert_eq!(answer.unwrap().value, version, "and it stays");
    }
}

/// Half-open: what the server tells is lost, and nobody says so.
#[tokio::test]
async fn a_silent_connection_is_trusted_for_a_second_at_most() {
    let stage = Stage::with(live).await;
    let other = stage.neighbour(live).await;
    remembers(&other, &stage.database).await;
    for direction in [Direction::ToClient, Direction::ToServer] {
        other.proxy.set(direction, Mode::Hold);
        let began = tokio::time::Instant::now();
        let version = stage.put().await;
        until("nothing in memory is used", async || {
            let answer = other.rows.get_or_load(NAME, stage.database.loader()).await;
            let answer = answer.unwrap();
            let in_time = began.elapsed() <= Duration::from_millis(1100);
            assert!(answer.source != Source::Local || in_time, "{answer:?}");
            answer.value == version
        })
        .await;
        other.proxy.set(direction, Mode::Pass);
        tokio::time::timeout(Duration::from_secs(10), other.cache.wait_for_tracking())
            .await
            .expect("well again");
        remembers(&other, &stage.database).await;
    }
}

#[tokio::test]
async fn a_lost_connection_ends_all_that_is_remembered() {
    let stage = warm().await;
    let killed: u64 = stage
        .raw
        .run(&[b"CLIENT", b"KILL", b"TYPE", b"normal", b"SKIPME", b"yes"])
        .await;
    assert!(killed >= 2, "the cache has two connections");
    until("it is noticed", async || {
        matches!(stage.cache.stats().tracking, Tracking::Down)
            || stage.get().await.unwrap().source != Source::Local
    })
    .await;
    remembered(&stage).await;
    assert!(matches!(stage.cache.stats().tracking, Tracking::Up(_)));
}

#[tokio::test]
async fn valkey_frozen_and_thawed() {
    let stage = Stage::with(live).await;
    remembered(&stage).await;
    stage.valkey.pause().unwrap();
    let began = tokio::time::Instant::now();
    until("memory is not used", async || {
        let answer = quickly(stage.get()).await.unwrap();
        let is_local = answer.source == Source::Local;
        assert!(!is_local || began.elapsed() <= Duration::from_millis(1100));
        began.elapsed() > Duration::from_millis(1200)
    })
    .await;
    stage.valkey.resume().unwrap();
    let resumed = tokio::time::Instant::now();
    remembered(&stage).await;
    assert!(resumed.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn an_owed_invalidation_keeps_a_key_out_of_memory() {
    let stage = warm().await;
    // Valkey refuses to be written to, but answers reads.
    stage.raw.permit(b"-set -setex -evalsha -eval -del").await;
    let version = stage.put().await;
    for _ in 0..10 {
        assert_eq!(stage.get().await, loaded(version));
    }
    stage.raw.permit(b"+set +setex +evalsha +eval +del").await;
    remembered(&stage).await;
}

#[tokio::test]
async fn without_a_shared_level_nothing_that_others_change_is_remembered() {
    let cache = without_shared_level();
    let (rows, database) = (cache.namespace(kept(TTL)).unwrap(), Database::default());
    for _ in 0..3 {
        assert_eq!(rows.get_or_load(NAME, database.loader()).await, loaded(0));
    }
    assert_eq!(cache.stats().tracking, Tracking::Off);
}

#[tokio::test(start_paused = true)]
async fn a_class_of_this_process_alone_is_remembered_for_its_time_to_live() {
    let cache = without_shared_level();
    let alone = tiercache::NamespaceConfig {
        is_shared: false,
        ..kept(TTL)
    };
    let (rows, database) = (cache.namespace(alone).unwrap(), Database::default());
    let get = || rows.get_or_load(NAME, database.loader());
    assert_eq!(get().await, loaded(0));
    tokio::time::advance(TTL - Duration::from_secs(1)).await;
    assert_eq!(get().await, local_hit(0));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(get().await, loaded(0));
    let version = put(&rows, &database).await;
    assert_eq!(get().await, loaded(version));
}

#[tokio::test]
async fn what_is_remembered_is_bounded() {
    let stage = Stage::with(keeping).await;
    let mut spec = kept(TTL);
    spec.prefix = "test:large:";
    spec.local.as_mut().unwrap().bytes = |_| 10_000;
    let rows = stage.cache.namespace(spec).unwrap();
    for i in 0..400 {
        for _ in 0..2 {
            rows.get_or_load(&i.to_string(), stage.database.loader())
                .await
                .unwrap();
        }
        assert!(stage.cache.stats().local_bytes <= 1 << 20);
    }
    assert!(stage.cache.stats().local_entries > 50);
}

impl Raw {
    /// How often a command was executed.
    async fn calls(&self, command: &str) -> u64 {
        let info: String = self.run(&[b"INFO", b"commandstats"]).await;
        let line = info
            .lines()
            .find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
        line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
    }
}
