//! Writing: nothing older is served afterwards, whatever happens.

use std::time::Duration;

use devstack::{Direction, Mode};
use tiercache::{Failure, Settings};

use crate::support::{
    DbError, KEY, NAME, Stage, cache, foreign_marker, loaded, patient, payload, put, quickly,
    shared, shared_level, spec, stats, until,
};

#[tokio::test]
async fn a_read_after_a_write_is_fresh_everywhere() {
    let stage = Stage::new().await;
    let neighbour = stage.neighbour(patient).await;
    for version in 1..=20 {
        stage.get().await.unwrap();
        assert_eq!(
            put(
                if version % 2 == 0 {
                    &stage.rows
                } else {
                    &neighbour.rows
                },
                &stage.database
            )
            .await,
            version
        );
        assert_eq!(
            neighbour
                .rows
                .get_or_load(NAME, stage.database.loader())
                .await,
            loaded(version)
        );
        assert_eq!(stage.get().await, shared(version));
    }
}

#[tokio::test]
async fn a_failed_transaction_invalidates_too_for_its_outcome_is_not_known() {
    let stage = Stage::new().await;
    stage.get().await.unwrap();
    let database = stage.database.clone();
    let write = stage.rows.write(NAME, Vec::new(), move |fence| async move {
        database.update(fence).await?;
        Err::<(), _>(DbError::Away)
    });
    assert_eq!(write.await, Err(Failure::Failed(DbError::Away)));
    assert_eq!(stage.get().await, loaded(1));
}

#[tokio::test]
async fn a_panicking_transaction_invalidates_too() {
    let stage = Stage::new().await;
    stage.get().await.unwrap();
    let database = stage.database.clone();
    let write = stage.rows.write(NAME, Vec::new(), move |fence| async move {
        database.update(fence).await?;
        if database.version() == 1 {
            panic!("on purpose");
        }
        Ok::<_, DbError>(())
    });
    assert_eq!(write.await, Err(Failure::Panicked));
    assert_eq!(stage.get().await, loaded(1));
}

#[tokio::test]
async fn a_transaction_that_changes_nothing_leaves_the_entry() {
    let stage = Stage::new().await;
    stage.get().await.unwrap();
    let write = stage.rows.write(NAME, Vec::new(), |fence| async move {
        drop(fence);
        Err::<(), _>(DbError::NoRow)
    });
    assert_eq!(write.await, Err(Failure::Failed(DbError::NoRow)));
    assert_eq!(stage.get().await, shared(0));
    assert_eq!(stage.stats().writes, 0);
}

#[tokio::test]
async fn whoever_hangs_up_does_not_interrupt_a_write() {
    let stage = Stage::new().await;
    stage.get().await.unwrap();
    let (inside, is_inside) = tokio::sync::oneshot::channel();
    let (go_on, may_go_on) = tokio::sync::oneshot::channel::<()>();
    let (rows, database) = (stage.rows.clone(), stage.database.clone());
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
    until("the key is invalidated", async || {
        stage.raw.get(KEY).await.is_none_or(|held| held == b"null")
    })
    .await;
    assert_eq!(stage.get().await, loaded(1));
}

#[tokio::test]
async fn other_keys_can_be_cleared_with_it() {
    let stage = Stage::new().await;
    stage.raw.set("traceback", "old").await;
    let database = stage.database.clone();
    let write = stage.rows.write(
        NAME,
        vec!["traceback".to_owned()],
        move |fence| async move { database.update(fence).await },
    );
    write.await.unwrap();
    assert_eq!(stage.raw.get("traceback").await.unwrap(), b"null");
    assert!(stage.raw.pttl("traceback").await <= Duration::from_secs(1));
    assert_eq!(stage.cache.peek("traceback").await, None);
}

#[tokio::test]
async fn a_replica_with_caching_off_invalidates_for_the_others() {
    let stage = Stage::new().await;
    stage.get().await.unwrap();
    let off = stage.cache.namespace(spec(Duration::ZERO)).unwrap();
    put(&off, &stage.database).await;
    assert_eq!(stage.raw.get(KEY).await.unwrap(), b"null");
    assert_eq!(stage.get().await, loaded(1));
}

#[tokio::test]
async fn without_a_shared_level_a_write_just_happens() {
    let stage = Stage::new().await;
    let (_cache, rows) = cache(Settings::default()).await;
    assert_eq!(put(&rows, &stage.database).await, 1);
    assert_eq!(
        rows.get_or_load(NAME, stage.database.loader()).await,
        loaded(1)
    );
}

#[tokio::test]
async fn a_write_while_valkey_is_dead_is_quick_and_made_up_for_later() {
    let stage = Stage::new().await;
    let neighbour = stage
        .neighbour(|url| Settings {
            url: Some(url),
            ..Settings::default()
        })
        .await;
    stage.get().await.unwrap();
    neighbour.proxy.refuse(true).await.unwrap();
    neighbour.proxy.reset_all();
    shared_level(&neighbour.cache, false).await;
    let database = stage.database.clone();
    let write = neighbour.rows.write(
        NAME,
        vec!["traceback".to_owned()],
        move |fence| async move { database.update(fence).await },
    );
    assert_eq!(quickly(write).await, Ok(1));
    assert_eq!(neighbour.cache.stats().pending_invalidations, 2);
    assert_eq!(
        neighbour
            .rows
            .get_or_load(NAME, stage.database.loader())
            .await,
        loaded(1)
    );
    assert_eq!(
        stage.raw.get(KEY).await.unwrap(),
        payload(0),
        "nobody could tell Valkey"
    );

    neighbour.proxy.heal().await.unwrap();
    shared_level(&neighbour.cache, true).await;
    assert_eq!(
        neighbour.cache.stats().pending_invalidations,
        0,
        "paid before the connection is used"
    );
    assert_ne!(stage.raw.get(KEY).await, Some(payload(0).to_vec()));
    assert_eq!(stage.get().await, loaded(1));
}

#[tokio::test]
async fn a_key_whose_invalidation_was_refused_is_not_looked_up_until_it_is_made_up_for() {
    let stage = Stage::new().await;
    let (database, raw) = (stage.database.clone(), stage.raw.clone());
    let also = vec!["traceback".to_owned()];
    let write = stage.rows.write(NAME, also, move |fence| async move {
        database.update(fence).await?;
        // As if the fence had run out, and an old value had come back in.
        raw.set(KEY, payload(0)).await;
        raw.set("traceback", "old").await;
        raw.permit(b"-eval -evalsha").await;
        Ok::<_, DbError>(())
    });
    write.await.unwrap();
    assert_eq!(stage.stats().invalidations_queued, 2);
    for _ in 0..5 {
        assert_eq!(
            stage.get().await,
            loaded(1),
            "the shared level still holds the old value"
        );
        assert_eq!(stage.cache.peek("traceback").await, None);
    }
    assert!(stage.cache.is_shared_level_up());
    assert_eq!(
        (
            stage.stats().bypassed_pending,
            stage.cache.stats().pending_invalidations
        ),
        (5, 2)
    );
    stage.raw.permit(b"+eval +evalsha").await;
    until("it is made up for", async || {
        stage.cache.stats().pending_invalidations == 0
    })
    .await;
    assert_ne!(stage.raw.get(KEY).await, Some(payload(0).to_vec()));
    assert_eq!(stage.get().await, loaded(1));
    assert_eq!(stage.get().await, shared(1));
}

#[tokio::test]
async fn a_fence_that_was_not_acknowledged_is_not_taken_for_ones_own() {
    let stage = Stage::new().await;
    let slow = |url| Settings {
        write_timeout: Duration::from_millis(50),
        ..patient(url)
    };
    let neighbour = std::sync::Arc::new(stage.neighbour(slow).await);
    let (raw, at) = (stage.raw.clone(), std::sync::Arc::clone(&neighbour));
    let write = neighbour
        .rows
        .write(NAME, Vec::new(), move |fence| async move {
            at.proxy.set(Direction::ToClient, Mode::Hold);
            fence.raise().await;
            at.proxy.set(Direction::ToClient, Mode::Pass);
            // It did arrive, but the writer cannot know whether it will not arrive once more,
            // in place of somebody else's.
            Ok::<_, DbError>(raw.get(KEY).await)
        });
    let fence = write.await.unwrap();
    assert_eq!(stage.raw.get(KEY).await, fence, "left to run out");
    assert_eq!(stats(&neighbour.cache).fences_unconfirmed, 1);
    assert_ne!(fence, Some(foreign_marker(b'\n')));
    assert_eq!(stage.get().await, loaded(0), "behind a fence");
}
