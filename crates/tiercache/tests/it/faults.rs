//! Faults of Valkey and of the network: requests stay fast and correct, and the cache recovers
//! without intervention.

use std::time::Duration;

use devstack::{Direction, FaultProxy, Mode, Valkey};
use tiercache::{Cache, CacheBuilder, SharedLevel};

use crate::support::{
    Database, Fixture, KEY, MEMORY, NAME, Raw, Replica, Rows, TTL, config, enqueue, loaded, put,
    shared_hit, stats, wait_for_shared_level, wait_for_tracking, wait_until, within_a_second,
};

const FAILOVERS: usize = 3;

fn defaults(url: String) -> CacheBuilder {
    Cache::builder(url)
}

/// A fixture with one replica behind a proxy.
async fn behind_proxy() -> (Fixture, Replica) {
    let fixture = Fixture::defaults().await;
    let replica = fixture.replica(defaults).await;
    (fixture, replica)
}

/// Asserts that requests are served within 1 s while the shared level is down.
async fn assert_served_without_shared_level(
    fixture: &Fixture,
    cache: &Cache,
    rows: &crate::support::Rows,
) {
    wait_until("the shared level to be down", async || {
        let version = fixture.database.version();
        let read = within_a_second(rows.get_or_load(NAME, fixture.database.loader())).await;
        assert_eq!(read.unwrap().value, version);
        !cache.is_shared_level_up()
    })
    .await;
    let before = stats(cache).bypassed_unavailable;
    assert_eq!(
        rows.get_or_load(NAME, fixture.database.loader()).await,
        loaded(fixture.database.version())
    );
    assert_eq!(stats(cache).bypassed_unavailable, before + 1);
    assert_eq!(cache.stats().shared_level, SharedLevel::Down);
}

/// Asserts that the shared level recovers and serves hits.
async fn assert_recovers(fixture: &Fixture, cache: &Cache, rows: &crate::support::Rows) {
    wait_for_shared_level(cache, true).await;
    wait_until("a shared hit", async || {
        let version = fixture.database.version();
        let response = rows.get_or_load(NAME, fixture.database.loader()).await;
        assert_eq!(response.clone().unwrap().value, version);
        response == shared_hit(version)
    })
    .await;
}

#[limited::test]
async fn valkey_is_optional_at_startup() {
    let valkey = Valkey::start().await.unwrap();
    valkey.kill();
    let cache = defaults(valkey.url()).connect().unwrap();
    let rows = Rows::build(config(&cache, TTL));
    let database = Database::default();
    assert_eq!(
        within_a_second(rows.get_or_load(NAME, database.loader())).await,
        loaded(0)
    );
    assert_eq!(within_a_second(put(&rows, &database)).await, 1);
    valkey.restart().await.unwrap();
    wait_for_shared_level(&cache, true).await;
    assert_eq!(rows.get_or_load(NAME, database.loader()).await, loaded(1));
    assert_eq!(
        rows.get_or_load(NAME, database.loader()).await,
        shared_hit(1)
    );
}

#[limited::test]
async fn recovers_after_valkey_is_killed_and_restarted_empty() {
    let fixture = Fixture::defaults().await;
    fixture.get().await.unwrap();
    fixture.valkey.kill();
    assert_served_without_shared_level(&fixture, &fixture.cache, &fixture.rows).await;
    assert_eq!(within_a_second(fixture.put()).await, 1);
    fixture.valkey.restart().await.unwrap();
    assert_recovers(&fixture, &fixture.cache, &fixture.rows).await;
}

#[limited::test]
async fn recovers_after_valkey_is_frozen() {
    let fixture = Fixture::defaults().await;
    fixture.get().await.unwrap();
    fixture.valkey.pause().unwrap();
    assert_served_without_shared_level(&fixture, &fixture.cache, &fixture.rows).await;
    assert_eq!(within_a_second(fixture.put()).await, 1);
    fixture.valkey.resume().unwrap();
    assert_recovers(&fixture, &fixture.cache, &fixture.rows).await;
}

/// GETLEASE that times out while Valkey is frozen executes after it resumes.
#[limited::test]
async fn a_lease_granted_after_its_timeout_is_released() {
    let fixture = Fixture::new().await;
    fixture.get().await.unwrap();
    fixture.raw.run::<()>(&[b"DEL", KEY.as_bytes()]).await;
    let replica = fixture
        .replica(|url| defaults(url).read_timeout(Duration::from_millis(300)))
        .await;
    // GET gets a reply, GETLEASE times out.
    let (sent, received) = sizes(&replica);
    replica.proxy.set(Direction::ToClient, Mode::Hold);
    let request = enqueue(&replica.rows, fixture.database.loader());
    wait_until("the GET to be sent", async || sizes(&replica).0 > sent + 30).await;
    fixture.raw.run::<String>(&[b"PING"]).await;
    fixture.valkey.pause().unwrap();
    replica.proxy.set(Direction::ToClient, Mode::Pass);
    wait_until("the reply to GET", async || sizes(&replica).1 > received).await;
    assert_eq!(request.await.unwrap(), loaded(0));
    wait_for_shared_level(&replica.cache, false).await;
    fixture.valkey.resume().unwrap();
    wait_for_shared_level(&replica.cache, true).await;
    assert_eq!(fixture.raw.get(KEY).await, None);
    assert_recovers(&fixture, &replica.cache, &replica.rows).await;
}

fn sizes(replica: &Replica) -> (u64, u64) {
    (
        replica.proxy.bytes(Direction::ToServer),
        replica.proxy.bytes(Direction::ToClient),
    )
}

#[limited::test]
async fn a_dead_valkey_is_detected_on_an_idle_connection() {
    let fixture = Fixture::defaults().await;
    fixture.valkey.pause().unwrap();
    wait_for_shared_level(&fixture.cache, false).await;
    fixture.valkey.resume().unwrap();
    assert_recovers(&fixture, &fixture.cache, &fixture.rows).await;
}

#[limited::test]
async fn recovers_after_flushall_and_script_flush() {
    let fixture = Fixture::new().await;
    fixture.get().await.unwrap();
    fixture.raw.run::<()>(&[b"FLUSHALL"]).await;
    fixture.raw.run::<()>(&[b"SCRIPT", b"FLUSH"]).await;
    assert_recovers(&fixture, &fixture.cache, &fixture.rows).await;
    assert_eq!(fixture.database.loads(), 2);
}

#[limited::test]
async fn recovers_after_client_kill() {
    let fixture = Fixture::defaults().await;
    fixture.get().await.unwrap();
    let openings = fixture.cache.stats().breaker_openings;
    fixture
        .raw
        .run::<i64>(&[b"CLIENT", b"KILL", b"TYPE", b"normal", b"SKIPME", b"yes"])
        .await;
    wait_until("the circuit breaker to open", async || {
        fixture.cache.stats().breaker_openings > openings
    })
    .await;
    assert_recovers(&fixture, &fixture.cache, &fixture.rows).await;
}

#[limited::test]
async fn a_valkey_demoted_to_replica_is_not_used() {
    let fixture = Fixture::defaults().await;
    if !fixture.valkey.is_one_server() {
        // There it cannot be done by hand.
        return;
    }
    fixture
        .raw
        .run::<()>(&[b"REPLICAOF", b"127.0.0.1", b"1"])
        .await;
    assert_eq!(fixture.get().await, loaded(0));
    wait_until("the circuit breaker to open", async || {
        fixture.cache.stats().breaker_openings > 0
    })
    .await;
    fixture.raw.run::<()>(&[b"REPLICAOF", b"NO", b"ONE"]).await;
    assert_recovers(&fixture, &fixture.cache, &fixture.rows).await;
}

#[limited::test]
async fn recovers_after_packets_are_dropped_in_either_direction() {
    for direction in [Direction::ToServer, Direction::ToClient] {
        let (fixture, replica) = behind_proxy().await;
        fixture.get().await.unwrap();
        replica.proxy.set(direction, Mode::BlackHole);
        assert_served_without_shared_level(&fixture, &replica.cache, &replica.rows).await;
        replica.proxy.heal().await.unwrap();
        assert_recovers(&fixture, &replica.cache, &replica.rows).await;
    }
}

/// The old connection stays half-open; only a new one recovers.
#[limited::test]
async fn a_half_closed_connection_is_replaced() {
    for direction in [Direction::ToServer, Direction::ToClient] {
        let (fixture, replica) = behind_proxy().await;
        fixture.get().await.unwrap();
        replica.proxy.half_close(direction);
        wait_until("the circuit breaker to open", async || {
            replica.cache.stats().breaker_openings > 0
        })
        .await;
        assert_recovers(&fixture, &replica.cache, &replica.rows).await;
    }
}

#[limited::test]
async fn recovers_after_connections_are_reset_and_refused() {
    let (fixture, replica) = behind_proxy().await;
    fixture.get().await.unwrap();
    replica.proxy.refuse(true).await.unwrap();
    assert!(replica.proxy.reset_all() > 0);
    assert_served_without_shared_level(&fixture, &replica.cache, &replica.rows).await;
    replica.proxy.heal().await.unwrap();
    assert_recovers(&fixture, &replica.cache, &replica.rows).await;
}

#[limited::test]
async fn a_reply_cut_mid_frame_is_a_miss() {
    let (fixture, replica) = behind_proxy().await;
    fixture.get().await.unwrap();
    replica.proxy.cut_after(Direction::ToClient, Some(6));
    assert_eq!(
        within_a_second(replica.rows.get_or_load(NAME, fixture.database.loader())).await,
        loaded(0)
    );
    replica.proxy.heal().await.unwrap();
    wait_until("the circuit breaker to open", async || {
        replica.cache.stats().breaker_openings > 0
    })
    .await;
    assert_recovers(&fixture, &replica.cache, &replica.rows).await;
}

#[limited::test]
async fn dropping_the_cache_closes_its_connections() {
    let valkey = Valkey::start().await.unwrap();
    let proxy = FaultProxy::start(valkey.addr()).await.unwrap();
    let cache = defaults(format!("redis://{}/0", proxy.addr()))
        .connect()
        .unwrap();
    wait_for_shared_level(&cache, true).await;
    assert_eq!(proxy.open(), 1);
    drop(cache);
    wait_until("the connection to close", async || proxy.open() == 0).await;
}

/// Failovers as clients behind a service address see them: the connection is lost, and the next
/// one leads to another process that lacks the last writes. Both levels are in use. Takes a second
/// for each: a server starts, and both connections are established again.
#[limited::test]
async fn after_failovers_to_a_lagging_server_recent_writes_are_not_undone() {
    let fixture = Fixture::defaults().await;
    let replica = fixture.replica(|url| defaults(url).memory(MEMORY)).await;
    let get = async || {
        let response = replica.rows.get_or_load(NAME, fixture.database.loader());
        response.await.unwrap()
    };
    for _ in 0..FAILOVERS {
        get().await;
        let raw = Raw::connect(&fixture.valkey).await;
        let stored = raw.get(KEY).await.unwrap();
        let version = put(&replica.rows, &fixture.database).await;

        replica.proxy.refuse(true).await.unwrap();
        replica.proxy.reset_all();
        wait_for_shared_level(&replica.cache, false).await;
        fixture.valkey.restart().await.unwrap();
        let promoted = Raw::connect(&fixture.valkey).await;
        // A node of a cluster is not in use at once.
        wait_until("a server that accepts writes", async || {
            let set: &[&[u8]] = &[b"SET", KEY.as_bytes(), &stored, b"EX", b"60"];
            promoted.try_run::<()>(set).await.is_ok()
        })
        .await;
        replica.proxy.refuse(false).await.unwrap();

        wait_for_shared_level(&replica.cache, true).await;
        assert_eq!(get().await.value, version);
        wait_for_tracking(&replica.cache).await;
        assert_eq!(get().await.value, version);
    }
}
