//! Writes: no read after a write returns an older value, whatever fails.

use std::time::Duration;

use devstack::{Direction, Mode};
use tiercache::{Cache, Failure};

use crate::support::{
    DbError, Fixture, KEY, NAME, Rows, cache, config, foreign_marker, loaded, long_timeouts,
    payload, put, shared_hit, stats, traceback, wait_for_shared_level, wait_until, within_a_second,
};

#[limited::test]
async fn a_read_after_a_write_is_fresh_on_every_replica() {
    let fixture = Fixture::new().await;
    let replica = fixture.replica(long_timeouts).await;
    for version in 1..=20 {
        fixture.get().await.unwrap();
        assert_eq!(
            put(
                if version % 2 == 0 {
                    &fixture.rows
                } else {
                    &replica.rows
                },
                &fixture.database
            )
            .await,
            version
        );
        assert_eq!(
            replica
                .rows
                .get_or_load(NAME, fixture.database.loader())
                .await,
            loaded(version)
        );
        assert_eq!(fixture.get().await, shared_hit(version));
    }
}

#[limited::test]
async fn a_failed_transaction_invalidates_since_its_outcome_is_unknown() {
    let fixture = Fixture::new().await;
    fixture.get().await.unwrap();
    let database = fixture.database.clone();
    let write = fixture
        .rows
        .write(NAME, Vec::new(), move |fence| async move {
            database.update(fence).await?;
            Err::<(), _>(DbError::Unavailable)
        });
    assert_eq!(write.await, Err(Failure::Failed(DbError::Unavailable)));
    assert_eq!(fixture.get().await, loaded(1));
}

#[limited::test]
async fn a_panicking_transaction_invalidates() {
    let fixture = Fixture::new().await;
    fixture.get().await.unwrap();
    let database = fixture.database.clone();
    let write = fixture
        .rows
        .write(NAME, Vec::new(), move |fence| async move {
            database.update(fence).await?;
            if database.version() == 1 {
                panic!("on purpose");
            }
            Ok::<_, DbError>(())
        });
    assert_eq!(write.await, Err(Failure::Panicked));
    assert_eq!(fixture.get().await, loaded(1));
}

#[limited::test]
async fn a_transaction_without_a_fence_leaves_the_entry() {
    let fixture = Fixture::new().await;
    fixture.get().await.unwrap();
    let write = fixture.rows.write(NAME, Vec::new(), |fence| async move {
        drop(fence);
        Err::<(), _>(DbError::NoRow)
    });
    assert_eq!(write.await, Err(Failure::Failed(DbError::NoRow)));
    assert_eq!(fixture.get().await, shared_hit(0));
    assert_eq!(fixture.stats().writes, 0);
}

#[limited::test]
async fn a_cancelled_request_does_not_cancel_its_write() {
    let fixture = Fixture::new().await;
    fixture.get().await.unwrap();
    let (inside, is_inside) = tokio::sync::oneshot::channel();
    let (go_on, may_go_on) = tokio::sync::oneshot::channel::<()>();
    let (rows, database) = (fixture.rows.clone(), fixture.database.clone());
    let client = tokio::spawn(async move {
        let write = rows.write(NAME, Vec::new(), move |fence| async move {
            inside.send(()).unwrap();
            may_go_on.await.unwrap();
            database.update(fence).await
        });
        write.await
    });
    is_inside.await.unwrap();
    client.abort();
    assert!(client.await.unwrap_err().is_cancelled());
    go_on.send(()).unwrap();
    wait_until("the invalidation", async || {
        fixture
            .raw
            .get(KEY)
            .await
            .is_none_or(|held| held == b"null")
    })
    .await;
    assert_eq!(fixture.get().await, loaded(1));
}

#[limited::test]
async fn a_write_invalidates_further_keys() {
    let fixture = Fixture::new().await;
    fixture.raw.set("traceback", "old").await;
    let traceback = traceback(&fixture.cache);
    let database = fixture.database.clone();
    let write = fixture
        .rows
        .write(NAME, vec![traceback.key("")], move |fence| async move {
            database.update(fence).await
        });
    write.await.unwrap();
    assert_eq!(fixture.raw.get("traceback").await.unwrap(), b"null");
    assert!(fixture.raw.pttl("traceback").await <= Duration::from_secs(1));
    assert_eq!(limited::waiting("a peek", traceback.peek("")).await, None);
}

#[limited::test]
async fn a_replica_with_caching_disabled_still_invalidates() {
    let fixture = Fixture::new().await;
    fixture.get().await.unwrap();
    let off = Rows::build(config(&fixture.cache, Duration::ZERO));
    put(&off, &fixture.database).await;
    assert_eq!(fixture.raw.get(KEY).await.unwrap(), b"null");
    assert_eq!(fixture.get().await, loaded(1));
}

#[limited::test]
async fn a_write_works_without_a_shared_level() {
    let fixture = Fixture::new().await;
    let (_cache, rows) = cache(Cache::local_builder()).await;
    assert_eq!(put(&rows, &fixture.database).await, 1);
    assert_eq!(
        rows.get_or_load(NAME, fixture.database.loader()).await,
        loaded(1)
    );
}

#[limited::test]
async fn a_write_while_valkey_is_unavailable_is_fast_and_its_invalidation_is_flushed_later() {
    let fixture = Fixture::new().await;
    let replica = fixture.replica(Cache::builder).await;
    fixture.get().await.unwrap();
    replica.proxy.refuse(true).await.unwrap();
    replica.proxy.reset_all();
    wait_for_shared_level(&replica.cache, false).await;
    let database = fixture.database.clone();
    let write = replica.rows.write(
        NAME,
        vec![traceback(&replica.cache).key("")],
        move |fence| async move { database.update(fence).await },
    );
    assert_eq!(within_a_second(write).await, Ok(1));
    assert_eq!(replica.cache.stats().pending_invalidations, 2);
    assert_eq!(
        replica
            .rows
            .get_or_load(NAME, fixture.database.loader())
            .await,
        loaded(1)
    );
    assert_eq!(
        fixture.raw.get(KEY).await.unwrap(),
        payload(0),
        "Valkey is unreachable for the writer"
    );

    replica.proxy.heal().await.unwrap();
    wait_for_shared_level(&replica.cache, true).await;
    let stored = fixture.raw.get(KEY).await;
    assert_ne!(
        stored,
        Some(payload(0).to_vec()),
        "flushed before the connection is used"
    );
    // In a cluster a node that connects later repeats the invalidations of the others, too.
    wait_until("nothing is pending", async || {
        replica.cache.stats().pending_invalidations == 0
    })
    .await;
    assert_eq!(fixture.get().await, loaded(1));
}

#[limited::test]
async fn a_key_with_a_pending_invalidation_bypasses_the_shared_level() {
    let fixture = Fixture::new().await;
    let (database, raw) = (fixture.database.clone(), fixture.raw.clone());
    let traceback = traceback(&fixture.cache);
    let also = vec![traceback.key("")];
    let write = fixture.rows.write(NAME, also, move |fence| async move {
        database.update(fence).await?;
        // As if the fence had expired and a stale value had been filled.
        raw.set(KEY, payload(0)).await;
        raw.set("traceback", "old").await;
        raw.set_acl(b"-eval -evalsha").await;
        Ok::<_, DbError>(())
    });
    write.await.unwrap();
    assert_eq!(fixture.stats().invalidations_queued, 1);
    for _ in 0..5 {
        assert_eq!(
            fixture.get().await,
            loaded(1),
            "the shared level still holds the stale value"
        );
        assert_eq!(limited::waiting("a peek", traceback.peek("")).await, None);
    }
    assert!(fixture.cache.is_shared_level_up());
    assert_eq!(
        (
            fixture.stats().bypassed_pending,
            fixture.cache.stats().pending_invalidations
        ),
        (5, 2)
    );
    fixture.raw.set_acl(b"+eval +evalsha").await;
    wait_until("the pending invalidations to be flushed", async || {
        fixture.cache.stats().pending_invalidations == 0
    })
    .await;
    assert_ne!(fixture.raw.get(KEY).await, Some(payload(0).to_vec()));
    assert_eq!(fixture.get().await, loaded(1));
    assert_eq!(fixture.get().await, shared_hit(1));
}

#[limited::test]
async fn a_fence_that_was_not_acknowledged_is_not_owned() {
    let fixture = Fixture::new().await;
    let slow = |url| long_timeouts(url).write_timeout(Duration::from_millis(50));
    let replica = std::sync::Arc::new(fixture.replica(slow).await);
    let (raw, at) = (fixture.raw.clone(), std::sync::Arc::clone(&replica));
    let write = replica
        .rows
        .write(NAME, Vec::new(), move |fence| async move {
            at.proxy.set(Direction::ToClient, Mode::Hold);
            fence.raise().await;
            at.proxy.set(Direction::ToClient, Mode::Pass);
            // The command was executed. For the writer it may still be delayed, and then
            // overwrite the fence of another writer.
            Ok::<_, DbError>(raw.get(KEY).await)
        });
    let fence = write.await.unwrap().unwrap();
    let left = fixture.raw.get(KEY).await.unwrap();
    assert_eq!(left[..68], fence[..68], "left until it expires");
    assert_eq!(stats(&replica.cache).fences_unconfirmed, 1);
    assert_ne!(fence, foreign_marker(b'\n'));
    assert_eq!(fixture.get().await, loaded(0), "behind a fence");
}
