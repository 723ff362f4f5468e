//! What other programs see in Valkey.

use crate::support::{
    Gate, KEY, NAME, Stage, TTL, assert_marker, begin, foreign_marker, loaded, payload, shared,
};
use std::time::Duration;

#[tokio::test]
async fn an_entry_is_its_payload_with_its_time_to_live() {
    let stage = Stage::new().await;
    assert_eq!(stage.get().await, loaded(0));
    assert_eq!(stage.raw.get(KEY).await.unwrap(), payload(0));
    let left = stage.raw.pttl(KEY).await;
    assert!(
        left <= TTL && left > TTL - Duration::from_secs(30),
        "{left:?}"
    );
    assert_eq!(stage.rows.key(NAME), KEY);
}

#[tokio::test]
async fn a_lease_stands_while_a_value_is_loaded_new_for_every_attempt() {
    let stage = Stage::new().await;
    let mut seen = Vec::new();
    for _ in 0..2 {
        let database = stage.database.clone();
        let (mut gate, load) = Gate::after(move || Ok(database.select()));
        let request = begin(&stage.rows, load);
        gate.entered().await;
        let lease = stage.raw.get(KEY).await;
        assert_marker(&lease, b'\t');
        assert!(stage.raw.pttl(KEY).await <= Duration::from_secs(5));
        seen.push(lease);
        gate.open();
        assert_eq!(request.await.unwrap(), loaded(0));
        stage.raw.run::<()>(&[b"DEL", KEY.as_bytes()]).await;
    }
    assert_ne!(seen[0], seen[1]);
}

#[tokio::test]
async fn a_fence_stands_from_raise_to_the_end_and_then_a_tombstone() {
    let stage = Stage::new().await;
    stage.get().await.unwrap();
    let raw = stage.raw.clone();
    let write = stage.rows.write(NAME, Vec::new(), move |fence| async move {
        assert_eq!(
            raw.get(KEY).await.unwrap(),
            payload(0),
            "nothing before the row is locked"
        );
        fence.raise().await;
        let fence = raw.get(KEY).await;
        assert_marker(&fence, b'\n');
        let left = raw.pttl(KEY).await;
        assert!(
            left <= Duration::from_secs(10) && left > Duration::from_secs(5),
            "{left:?}"
        );
        Ok::<_, ()>(fence)
    });
    let first = write.await.unwrap();
    assert_eq!(stage.raw.get(KEY).await.unwrap(), b"null");
    assert!(stage.raw.pttl(KEY).await <= Duration::from_secs(1));

    let raw = stage.raw.clone();
    let write = stage.rows.write(NAME, Vec::new(), move |fence| async move {
        fence.raise().await;
        Ok::<_, ()>(raw.get(KEY).await)
    });
    assert_ne!(
        first,
        write.await.unwrap(),
        "the nonce of a fence is new for every write"
    );
}

#[tokio::test]
async fn the_end_of_a_write_leaves_the_fence_of_another_writer() {
    let stage = Stage::new().await;
    let anothers = foreign_marker(b'\n');
    write_over(&stage, &anothers).await;
    assert_eq!(stage.raw.get(KEY).await.unwrap(), anothers);
    assert_eq!(stage.stats().invalidations_queued, 0, "which is no failure");
}

#[tokio::test]
async fn the_end_of_a_write_replaces_everything_else() {
    let stage = Stage::new().await;
    let lease = foreign_marker(b'\t');
    for found in [&b"{\"v\":7}"[..], b"null", b"null\n", b"", &lease] {
        write_over(&stage, found).await;
        assert_eq!(stage.raw.get(KEY).await.unwrap(), b"null");
    }
}

/// A write during which somebody else puts something into the key.
async fn write_over(stage: &Stage, found: &[u8]) {
    let (raw, found) = (stage.raw.clone(), found.to_vec());
    let write = stage.rows.write(NAME, Vec::new(), move |fence| async move {
        fence.raise().await;
        raw.set(KEY, found).await;
        Ok::<_, ()>(())
    });
    write.await.unwrap();
}

#[tokio::test]
async fn a_write_invalidates_a_key_of_another_type() {
    let stage = Stage::new().await;
    let raw = stage.raw.clone();
    let write = stage.rows.write(NAME, Vec::new(), move |fence| async move {
        fence.raise().await;
        raw.run::<()>(&[b"DEL", KEY.as_bytes()]).await;
        raw.run::<()>(&[b"RPUSH", KEY.as_bytes(), b"x"]).await;
        Ok::<_, ()>(())
    });
    write.await.unwrap();
    assert_eq!(stage.raw.get(KEY).await.unwrap(), b"null");
}

#[tokio::test]
async fn a_valkey_without_memory_still_invalidates() {
    let stage = Stage::new().await;
    stage.get().await.unwrap();
    stage
        .raw
        .run::<()>(&[b"CONFIG", b"SET", b"maxmemory", b"1"])
        .await;
    assert_eq!(stage.put().await, 1);
    assert_eq!(stage.raw.get(KEY).await, None);
    assert_eq!(
        (
            stage.stats().fences_unconfirmed,
            stage.stats().invalidations_queued
        ),
        (1, 0)
    );
    assert_eq!(
        stage.get().await,
        loaded(1),
        "it cannot lease, but it can load"
    );
    stage
        .raw
        .run::<()>(&[b"CONFIG", b"SET", b"maxmemory", b"0"])
        .await;
    assert_eq!(stage.get().await, loaded(1));
    assert_eq!(stage.get().await, shared(1));
    assert_eq!(stage.cache.stats().breaker_openings, 0);
}

#[tokio::test]
async fn scripts_that_valkey_has_forgotten_are_sent_again() {
    let stage = Stage::new().await;
    stage.get().await.unwrap();
    stage.raw.run::<()>(&[b"SCRIPT", b"FLUSH"]).await;
    stage.raw.run::<()>(&[b"FLUSHALL"]).await;
    assert_eq!(stage.get().await, loaded(0));
    assert_eq!(stage.get().await, shared(0));
    stage.raw.run::<()>(&[b"SCRIPT", b"FLUSH"]).await;
    stage.put().await;
    assert_eq!(stage.get().await, loaded(1));
}
