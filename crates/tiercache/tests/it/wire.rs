//! The keys, payloads and markers in Valkey, as other processes see them.

use crate::support::{
    Fixture, Gate, KEY, NAME, TTL, assert_marker, enqueue, foreign_marker, loaded, payload,
    shared_hit,
};
use std::time::Duration;

#[limited::test]
async fn an_entry_is_the_payload_with_its_ttl() {
    let fixture = Fixture::new().await;
    assert_eq!(fixture.get().await, loaded(0));
    assert_eq!(fixture.raw.get(KEY).await.unwrap(), payload(0));
    let left = fixture.raw.pttl(KEY).await;
    assert!(
        left <= TTL && left > TTL - Duration::from_secs(30),
        "{left:?}"
    );
    assert_eq!(fixture.rows.key(NAME).as_str(), KEY);
}

#[limited::test]
async fn a_load_holds_a_lease_with_a_nonce_per_attempt() {
    let fixture = Fixture::new().await;
    let mut seen = Vec::new();
    for _ in 0..2 {
        let database = fixture.database.clone();
        let (mut gate, load) = Gate::after(move || Ok(database.select()));
        let request = enqueue(&fixture.rows, load);
        gate.entered().await;
        let lease = fixture.raw.get(KEY).await;
        assert_marker(&lease, b'\t');
        assert!(fixture.raw.pttl(KEY).await <= Duration::from_secs(5));
        seen.push(lease);
        gate.open();
        assert_eq!(request.await.unwrap(), loaded(0));
        fixture.raw.run::<()>(&[b"DEL", KEY.as_bytes()]).await;
    }
    assert_ne!(seen[0], seen[1]);
}

#[limited::test]
async fn a_write_holds_a_fence_and_then_leaves_a_tombstone() {
    let fixture = Fixture::new().await;
    fixture.get().await.unwrap();
    let raw = fixture.raw.clone();
    let write = fixture
        .rows
        .write(NAME, Vec::new(), move |fence| async move {
            assert_eq!(
                raw.get(KEY).await.unwrap(),
                payload(0),
                "no fence before the row is locked"
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
    assert_eq!(fixture.raw.get(KEY).await.unwrap(), b"null");
    assert!(fixture.raw.pttl(KEY).await <= Duration::from_secs(1));

    let raw = fixture.raw.clone();
    let write = fixture
        .rows
        .write(NAME, Vec::new(), move |fence| async move {
            fence.raise().await;
            Ok::<_, ()>(raw.get(KEY).await)
        });
    assert_ne!(first, write.await.unwrap(), "every write has its own nonce");
}

#[limited::test]
async fn an_invalidation_leaves_the_fence_of_another_writer() {
    let fixture = Fixture::new().await;
    let mut foreign = foreign_marker(b'\n');
    write_over(&fixture, &foreign).await;
    // Its writer may not store a value: it is older than this write.
    *foreign.last_mut().unwrap() = b'\t';
    assert_eq!(fixture.raw.get(KEY).await.unwrap(), foreign);
    assert_eq!(
        fixture.stats().invalidations_queued,
        0,
        "a foreign fence is no failure"
    );
}

#[limited::test]
async fn an_invalidation_replaces_anything_else() {
    let fixture = Fixture::new().await;
    let lease = foreign_marker(b'\t');
    for found in [&b"{\"v\":7}"[..], b"null", b"null\n", b"", &lease] {
        write_over(&fixture, found).await;
        assert_eq!(fixture.raw.get(KEY).await.unwrap(), b"null");
    }
}

/// A write during which another process sets the key.
async fn write_over(fixture: &Fixture, found: &[u8]) {
    let (raw, found) = (fixture.raw.clone(), found.to_vec());
    let write = fixture
        .rows
        .write(NAME, Vec::new(), move |fence| async move {
            fence.raise().await;
            raw.set(KEY, found).await;
            Ok::<_, ()>(())
        });
    write.await.unwrap();
}

#[limited::test]
async fn a_write_invalidates_a_key_of_another_type() {
    let fixture = Fixture::new().await;
    let raw = fixture.raw.clone();
    let write = fixture
        .rows
        .write(NAME, Vec::new(), move |fence| async move {
            fence.raise().await;
            raw.run::<()>(&[b"DEL", KEY.as_bytes()]).await;
            raw.run::<()>(&[b"RPUSH", KEY.as_bytes(), b"x"]).await;
            Ok::<_, ()>(())
        });
    write.await.unwrap();
    assert_eq!(fixture.raw.get(KEY).await.unwrap(), b"null");
}

#[limited::test]
async fn a_valkey_out_of_memory_still_invalidates() {
    let fixture = Fixture::new().await;
    fixture.get().await.unwrap();
    fixture
        .raw
        .run::<()>(&[b"CONFIG", b"SET", b"maxmemory", b"1"])
        .await;
    assert_eq!(fixture.put().await, 1);
    assert_eq!(fixture.raw.get(KEY).await, None);
    assert_eq!(
        (
            fixture.stats().fences_unconfirmed,
            fixture.stats().invalidations_queued
        ),
        (1, 0)
    );
    assert_eq!(
        fixture.get().await,
        loaded(1),
        "no lease can be set, but the value is loaded"
    );
    fixture
        .raw
        .run::<()>(&[b"CONFIG", b"SET", b"maxmemory", b"0"])
        .await;
    assert_eq!(fixture.get().await, loaded(1));
    assert_eq!(fixture.get().await, shared_hit(1));
    assert_eq!(fixture.cache.stats().breaker_openings, 0);
}

#[limited::test]
async fn flushed_scripts_are_loaded_again() {
    let fixture = Fixture::new().await;
    fixture.get().await.unwrap();
    fixture.raw.run::<()>(&[b"SCRIPT", b"FLUSH"]).await;
    fixture.raw.run::<()>(&[b"FLUSHALL"]).await;
    assert_eq!(fixture.get().await, loaded(0));
    assert_eq!(fixture.get().await, shared_hit(0));
    fixture.raw.run::<()>(&[b"SCRIPT", b"FLUSH"]).await;
    fixture.put().await;
    assert_eq!(fixture.get().await, loaded(1));
}
