//! The tracking connection: pushes, lost and half-open connections, a frozen Valkey.

use super::*;

#[limited::test]
async fn a_write_is_visible_on_another_replica_after_the_push() {
    let fixture = warm().await;
    let other = fixture.replica(local_settings).await;
    for _ in 0..20 {
        wait_for_local_hit_on(&other, &fixture.database).await;
        let version = fixture.put().await;
        wait_until("the write on the other replica", async || {
            let response = other
                .rows
                .get_or_load(NAME, fixture.database.loader())
                .await;
            response.unwrap().value == version
        })
        .await;
    }
}

/// The value is read, then written and its push delivered, and only then stored.
#[limited::test]
async fn an_invalidation_between_get_and_store_is_not_missed() {
    let fixture = Fixture::with(local_settings).await;
    fixture.get().await.unwrap();
    let slow = fixture.replica(local_settings).await;
    for _ in 0..20 {
        wait_for_local_hit_on(&slow, &fixture.database).await;
        fixture.raw.run::<()>(&[b"DEL", KEY.as_bytes()]).await;
        fixture.get().await.unwrap();
        // Replies and pushes are held, and released together, in any order.
        slow.proxy.set(Direction::ToClient, Mode::Hold);
        let request = enqueue(&slow.rows, fixture.database.loader());
        tokio::task::yield_now().await;
        let version = fixture.put().await;
        slow.proxy.set(Direction::ToClient, Mode::Pass);
        request.await.unwrap().unwrap();
        wait_until("the new value", async || {
            let response = slow.rows.get_or_load(NAME, fixture.database.loader()).await;
            response.unwrap().value == version
        })
        .await;
        let response = slow.rows.get_or_load(NAME, fixture.database.loader()).await;
        assert_eq!(
            response.unwrap().value,
            version,
            "the value must not revert"
        );
    }
}

/// A half-open tracking connection: pushes are lost without an error. Takes over a second: the silence
/// after which memory is bypassed.
#[limited::test]
async fn a_silent_tracking_connection_bypasses_the_local_level_after_a_second() {
    let fixture = Fixture::with(defaults).await;
    let other = fixture.replica(defaults).await;
    wait_for_local_hit_on(&other, &fixture.database).await;
    for direction in [Direction::ToClient, Direction::ToServer] {
        other.proxy.set(direction, Mode::Hold);
        let began = tokio::time::Instant::now();
        let version = fixture.put().await;
        wait_until("the local level to be bypassed", async || {
            let response = other
                .rows
                .get_or_load(NAME, fixture.database.loader())
                .await;
            let response = response.unwrap();
            let in_time = began.elapsed() <= Duration::from_millis(1100);
            assert!(response.source != Source::Local || in_time, "{response:?}");
            response.value == version
        })
        .await;
        other.proxy.set(direction, Mode::Pass);
        wait_for_tracking(&other.cache).await;
        wait_for_local_hit_on(&other, &fixture.database).await;
    }
}

#[limited::test]
async fn a_lost_tracking_connection_invalidates_all_local_entries() {
    let fixture = warm().await;
    let killed: u64 = fixture
        .raw
        .run(&[b"CLIENT", b"KILL", b"TYPE", b"normal", b"SKIPME", b"yes"])
        .await;
    assert!(killed >= 2, "the cache has two connections");
    wait_until("the lost connection to be detected", async || {
        matches!(fixture.cache.stats().tracking, Tracking::Down)
            || fixture.get().await.unwrap().source != Source::Local
    })
    .await;
    wait_for_local_hit(&fixture).await;
    assert!(matches!(fixture.cache.stats().tracking, Tracking::Up(_)));
}

/// Takes over a second, as above.
#[limited::test]
async fn a_frozen_valkey_bypasses_the_local_level_until_it_resumes() {
    let fixture = Fixture::with(defaults).await;
    wait_for_local_hit(&fixture).await;
    fixture.valkey.pause().unwrap();
    let began = tokio::time::Instant::now();
    wait_until("the local level to be bypassed", async || {
        let response = within_a_second(fixture.get()).await.unwrap();
        let is_local = response.source == Source::Local;
        assert!(!is_local || began.elapsed() <= Duration::from_millis(1100));
        began.elapsed() > Duration::from_millis(1200)
    })
    .await;
    fixture.valkey.resume().unwrap();
    let resumed = tokio::time::Instant::now();
    wait_for_local_hit(&fixture).await;
    assert!(resumed.elapsed() < Duration::from_secs(2));
}
