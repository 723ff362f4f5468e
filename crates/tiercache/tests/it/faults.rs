//! A Valkey in trouble is noticed by its users as slower answers, if at all, and used again by
//! itself when it is well.

use std::time::Duration;

use devstack::{Direction, FaultProxy, Mode, Valkey};
use tiercache::{Cache, Settings, SharedLevel};

use crate::support::{
    Database, KEY, NAME, Neighbour, Stage, TTL, begin, loaded, put, quickly, shared, shared_level,
    spec, stats, until,
};

fn live(url: String) -> Settings {
    Settings {
        url: Some(url),
        ..Settings::default()
    }
}

/// A stage whose cache reaches Valkey through a proxy.
async fn behind_proxy() -> (Stage, Neighbour) {
    let stage = Stage::live().await;
    let neighbour = stage.neighbour(live).await;
    (stage, neighbour)
}

/// Answers go on while the shared level is away, and none is held up for long.
async fn served_without_shared_level(stage: &Stage, cache: &Cache, rows: &crate::support::Rows) {
    while cache.is_shared_level_up() {
        let version = stage.database.version();
        assert_eq!(
            quickly(rows.get_or_load(NAME, stage.database.loader()))
                .await
                .unwrap()
                .value,
            version
        );
    }
    let before = stats(cache).bypassed_unavailable;
    assert_eq!(
        rows.get_or_load(NAME, stage.database.loader()).await,
        loaded(stage.database.version())
    );
    assert_eq!(stats(cache).bypassed_unavailable, before + 1);
    assert_eq!(cache.stats().shared_level, SharedLevel::Down);
}

/// Hits again, by itself.
async fn recovers(stage: &Stage, cache: &Cache, rows: &crate::support::Rows) {
    shared_level(cache, true).await;
    until("a hit", async || {
        let version = stage.database.version();
        let answer = rows.get_or_load(NAME, stage.database.loader()).await;
        assert_eq!(answer.clone().unwrap().value, version);
        answer == shared(version)
    })
    .await;
}

#[tokio::test]
async fn valkey_may_come_after_its_users() {
    let valkey = Valkey::start().await.unwrap();
    valkey.kill();
    let cache = Cache::new(live(valkey.url())).unwrap();
    let rows = cache.namespace(spec(TTL)).unwrap();
    let database = Database::default();
    assert_eq!(
        quickly(rows.get_or_load(NAME, database.loader())).await,
        loaded(0)
    );
    assert_eq!(quickly(put(&rows, &database)).await, 1);
    valkey.restart().await.unwrap();
    shared_level(&cache, true).await;
    assert_eq!(rows.get_or_load(NAME, database.loader()).await, loaded(1));
    assert_eq!(rows.get_or_load(NAME, database.loader()).await, shared(1));
}

#[tokio::test]
async fn valkey_killed_and_restarted_empty() {
    let stage = Stage::live().await;
    stage.get().await.unwrap();
    stage.valkey.kill();
    served_without_shared_level(&stage, &stage.cache, &stage.rows).await;
    assert_eq!(quickly(stage.put()).await, 1);
    stage.valkey.restart().await.unwrap();
    recovers(&stage, &stage.cache, &stage.rows).await;
}

#[tokio::test]
async fn valkey_frozen_and_thawed() {
    let stage = Stage::live().await;
    stage.get().await.unwrap();
    stage.valkey.pause().unwrap();
    served_without_shared_level(&stage, &stage.cache, &stage.rows).await;
    assert_eq!(quickly(stage.put()).await, 1);
    stage.valkey.resume().unwrap();
    recovers(&stage, &stage.cache, &stage.rows).await;
}

/// A lease that is asked for when Valkey freezes is granted when it thaws, to nobody.
#[tokio::test]
async fn a_lease_granted_to_nobody_is_given_back() {
    let stage = Stage::new().await;
    stage.get().await.unwrap();
    stage.raw.run::<()>(&[b"DEL", KEY.as_bytes()]).await;
    let neighbour = stage
        .neighbour(|url| Settings {
            read_timeout: Duration::from_millis(300),
            ..live(url)
        })
        .await;
    // GET is answered, GETLEASE is not.
    let (asked, answered) = sizes(&neighbour);
    neighbour.proxy.set(Direction::ToClient, Mode::Hold);
    let request = begin(&neighbour.rows, stage.database.loader());
    until("the GET is sent", async || sizes(&neighbour).0 > asked + 30).await;
    stage.raw.run::<String>(&[b"PING"]).await;
    stage.valkey.pause().unwrap();
    neighbour.proxy.set(Direction::ToClient, Mode::Pass);
    until("the GET is answered", async || {
        sizes(&neighbour).1 > answered
    })
    .await;
    assert_eq!(request.await.unwrap(), loaded(0));
    shared_level(&neighbour.cache, false).await;
    stage.valkey.resume().unwrap();
    shared_level(&neighbour.cache, true).await;
    assert_eq!(stage.raw.get(KEY).await, None);
    recovers(&stage, &neighbour.cache, &neighbour.rows).await;
}

fn sizes(neighbour: &Neighbour) -> (u64, u64) {
    (
        neighbour.proxy.bytes(Direction::ToServer),
        neighbour.proxy.bytes(Direction::ToClient),
    )
}

#[tokio::test]
async fn an_idle_connection_to_a_dead_valkey_is_noticed() {
    let stage = Stage::live().await;
    stage.valkey.pause().unwrap();
    shared_level(&stage.cache, false).await;
    stage.valkey.resume().unwrap();
    recovers(&stage, &stage.cache, &stage.rows).await;
}

#[tokio::test]
async fn everything_flushed() {
    let stage = Stage::new().await;
    stage.get().await.unwrap();
    stage.raw.run::<()>(&[b"FLUSHALL"]).await;
    stage.raw.run::<()>(&[b"SCRIPT", b"FLUSH"]).await;
    recovers(&stage, &stage.cache, &stage.rows).await;
    assert_eq!(stage.database.loads(), 2);
}

#[tokio::test]
async fn clients_killed() {
    let stage = Stage::live().await;
    stage.get().await.unwrap();
    let openings = stage.cache.stats().breaker_openings;
    stage
        .raw
        .run::<i64>(&[b"CLIENT", b"KILL", b"TYPE", b"normal", b"SKIPME", b"yes"])
        .await;
    until("it is noticed", async || {
        stage.cache.stats().breaker_openings > openings
    })
    .await;
    recovers(&stage, &stage.cache, &stage.rows).await;
}

#[tokio::test]
async fn a_valkey_that_became_a_replica_is_not_used() {
    let stage = Stage::live().await;
    stage
        .raw
        .run::<()>(&[b"REPLICAOF", b"127.0.0.1", b"1"])
        .await;
    assert_eq!(stage.get().await, loaded(0));
    until("it is noticed", async || {
        stage.cache.stats().breaker_openings > 0
    })
    .await;
    stage.raw.run::<()>(&[b"REPLICAOF", b"NO", b"ONE"]).await;
    recovers(&stage, &stage.cache, &stage.rows).await;
}

#[tokio::test]
async fn a_black_hole_either_way() {
    for direction in [Direction::ToServer, Direction::ToClient] {
        let (stage, neighbour) = behind_proxy().await;
        stage.get().await.unwrap();
        neighbour.proxy.set(direction, Mode::BlackHole);
        served_without_shared_level(&stage, &neighbour.cache, &neighbour.rows).await;
        neighbour.proxy.heal().await.unwrap();
        recovers(&stage, &neighbour.cache, &neighbour.rows).await;
    }
}

/// The old connection stays half open for ever; only a new one helps.
#[tokio::test]
async fn a_connection_half_closed() {
    for direction in [Direction::ToServer, Direction::ToClient] {
        let (stage, neighbour) = behind_proxy().await;
        stage.get().await.unwrap();
        neighbour.proxy.half_close(direction);
        until("it is noticed", async || {
            neighbour.cache.stats().breaker_openings > 0
        })
        .await;
        recovers(&stage, &neighbour.cache, &neighbour.rows).await;
    }
}

#[tokio::test]
async fn connections_reset_and_refused() {
    let (stage, neighbour) = behind_proxy().await;
    stage.get().await.unwrap();
    neighbour.proxy.refuse(true).await.unwrap();
    assert_eq!(neighbour.proxy.reset_all(), 1);
    served_without_shared_level(&stage, &neighbour.cache, &neighbour.rows).await;
    neighbour.proxy.heal().await.unwrap();
    recovers(&stage, &neighbour.cache, &neighbour.rows).await;
}

#[tokio::test]
async fn an_answer_cut_in_the_middle() {
    let (stage, neighbour) = behind_proxy().await;
    stage.get().await.unwrap();
    neighbour.proxy.cut_after(Direction::ToClient, Some(6));
    assert_eq!(
        quickly(neighbour.rows.get_or_load(NAME, stage.database.loader())).await,
        loaded(0)
    );
    neighbour.proxy.heal().await.unwrap();
    until("it is noticed", async || {
        neighbour.cache.stats().breaker_openings > 0
    })
    .await;
    recovers(&stage, &neighbour.cache, &neighbour.rows).await;
}

#[tokio::test]
async fn the_background_task_ends_with_the_cache() {
    let valkey = Valkey::start().await.unwrap();
    let proxy = FaultProxy::start(valkey.addr()).await.unwrap();
    let cache = Cache::new(live(format!("redis://{}/0", proxy.addr()))).unwrap();
    shared_level(&cache, true).await;
    assert_eq!(proxy.open(), 1);
    drop(cache);
    until("the connection is closed", async || proxy.open() == 0).await;
}
