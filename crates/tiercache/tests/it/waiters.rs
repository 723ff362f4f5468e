//! Waiters that enqueue during a flight, and the results they may receive.

use std::time::Duration;

use devstack::{Direction, Mode};
use tiercache::{Cache, Failure};

use crate::support::{
    DbError, Fixture, Gate, KEY, NAME, cache, enqueue, loaded, long_timeouts, no_load, payload,
    put, wait_until,
};

#[limited::test]
async fn a_waiter_that_enqueues_during_a_load_receives_a_filled_value() {
    let fixture = Fixture::new().await;
    let database = fixture.database.clone();
    let (mut gate, load) = Gate::after(move || Ok(database.select()));
    let early = enqueue(&fixture.rows, load);
    gate.entered().await;
    let late = enqueue(&fixture.rows, no_load);
    gate.open();
    assert_eq!(early.await.unwrap(), loaded(0));
    assert_eq!(late.await.unwrap(), loaded(0));
    assert_eq!(fixture.database.loads(), 1);
}

#[limited::test]
async fn a_waiter_that_enqueues_after_a_write_gets_the_next_fetch() {
    let fixture = Fixture::new().await;
    let database = fixture.database.clone();
    let (mut gate, load) = Gate::after(move || Ok(database.select()));
    let early = enqueue(&fixture.rows, load);
    gate.entered().await;
    assert_eq!(fixture.put().await, 1);
    let late = enqueue(&fixture.rows, fixture.database.loader());
    gate.open();
    assert_eq!(early.await.unwrap(), loaded(0));
    assert_eq!(late.await.unwrap(), loaded(1));
}

#[limited::test]
async fn a_waiter_that_enqueues_after_a_write_on_another_replica_gets_the_next_fetch() {
    let fixture = Fixture::new().await;
    let replica = fixture.replica(long_timeouts).await;
    let database = fixture.database.clone();
    let (mut gate, load) = Gate::after(move || Ok(database.select()));
    let early = enqueue(&replica.rows, load);
    gate.entered().await;
    assert_eq!(fixture.put().await, 1);
    let late = enqueue(&replica.rows, fixture.database.loader());
    gate.open();
    assert_eq!(early.await.unwrap(), loaded(0));
    assert_eq!(late.await.unwrap(), loaded(1));
}

/// An accepted FILL does not cover writes that happen while its reply is in flight.
#[limited::test]
async fn a_waiter_that_enqueues_after_the_fill_executed_gets_the_next_fetch() {
    let fixture = Fixture::new().await;
    let replica = fixture.replica(long_timeouts).await;
    // Loads the script into Valkey: a NOSCRIPT reply would be held, too.
    fixture.get().await.unwrap();
    fixture.raw.run::<()>(&[b"DEL", KEY.as_bytes()]).await;
    let database = fixture.database.clone();
    let (mut gate, load) = Gate::after(move || Ok(database.select()));
    let early = enqueue(&replica.rows, load);
    gate.entered().await;
    let deferred = enqueue(&replica.rows, no_load);
    replica.proxy.set(Direction::ToClient, Mode::Hold);
    gate.open();
    wait_until("the fill to execute", async || {
        fixture.raw.get(KEY).await == Some(payload(0).to_vec())
    })
    .await;
    assert_eq!(fixture.put().await, 1);
    let late = enqueue(&replica.rows, fixture.database.loader());
    replica.proxy.set(Direction::ToClient, Mode::Pass);
    assert_eq!(early.await.unwrap(), loaded(0));
    assert_eq!(
        deferred.await.unwrap(),
        loaded(0),
        "enqueued before the write began"
    );
    assert_eq!(late.await.unwrap(), loaded(1));
}

/// Neither the fence nor the invalidation was executed, so the lease would still allow FILL.
#[limited::test]
async fn a_waiter_that_enqueues_after_a_write_with_a_refused_invalidation_gets_the_next_fetch() {
    // The long heartbeat keeps the background task from flushing the invalidation.
    let fixture = Fixture::with(|url| long_timeouts(url).heartbeat(Duration::from_secs(60))).await;
    let database = fixture.database.clone();
    let (mut gate, load) = Gate::after(move || Ok(database.select()));
    let early = enqueue(&fixture.rows, load);
    gate.entered().await;
    fixture.raw.set_acl(b"-set -eval -evalsha").await;
    assert_eq!(fixture.put().await, 1);
    fixture.raw.set_acl(b"+set +eval +evalsha").await;
    let late = enqueue(&fixture.rows, fixture.database.loader());
    gate.open();
    assert_eq!(early.await.unwrap(), loaded(0));
    assert_eq!(late.await.unwrap(), loaded(1));
    assert_eq!(
        (fixture.stats().invalidations_queued, fixture.stats().fills),
        (1, 0)
    );
    assert_eq!(fixture.raw.get(KEY).await, None);
}

/// The same for a hit: GET has read the old value, and its reply is in flight.
#[limited::test]
async fn a_waiter_that_enqueues_after_the_get_executed_gets_the_next_fetch() {
    let fixture = Fixture::new().await;
    fixture.get().await.unwrap();
    let replica = fixture.replica(long_timeouts).await;
    replica.proxy.set(Direction::ToClient, Mode::Hold);
    let sent = replica.proxy.bytes(Direction::ToServer);
    let early = enqueue(&replica.rows, no_load);
    // The bytes may be a heartbeat. Then GET executes after the write, which the assertions
    // below allow.
    wait_until("the GET to be sent", async || {
        replica.proxy.bytes(Direction::ToServer) > sent + 30
    })
    .await;
    fixture.raw.run::<String>(&[b"PING"]).await;
    assert_eq!(put(&fixture.rows, &fixture.database).await, 1);
    let late = enqueue(&replica.rows, fixture.database.loader());
    replica.proxy.set(Direction::ToClient, Mode::Pass);
    assert_eq!(early.await.unwrap().unwrap().value, 0);
    assert_eq!(late.await.unwrap().unwrap().value, 1);
}

#[limited::test]
async fn without_a_fill_all_deferred_waiters_share_the_next_load() {
    let (_cache, rows) = cache(Cache::local_builder()).await;
    let (mut gate, load) = Gate::after(|| Ok(1));
    let early = enqueue(&rows, load);
    gate.entered().await;
    let first_late = enqueue(&rows, || Box::pin(async { Ok(2) }));
    let other_late: Vec<_> = (0..100).map(|_| enqueue(&rows, no_load)).collect();
    gate.open();
    assert_eq!(early.await.unwrap(), loaded(1));
    assert_eq!(first_late.await.unwrap(), loaded(2));
    for late in other_late {
        assert_eq!(late.await.unwrap(), loaded(2));
    }
}

#[limited::test]
async fn an_outage_fails_all_waiters_and_any_other_error_only_the_admitted() {
    let fixture = Fixture::new().await;
    for (error, expected_late) in [
        (
            DbError::Unavailable,
            Err(Failure::Failed(DbError::Unavailable)),
        ),
        (DbError::NoRow, loaded(0)),
    ] {
        let (mut gate, load) = Gate::after(move || Err(error));
        let early = enqueue(&fixture.rows, load);
        gate.entered().await;
        let late = enqueue(&fixture.rows, fixture.database.loader());
        gate.open();
        assert_eq!(early.await.unwrap(), Err(Failure::Failed(error)));
        assert_eq!(late.await.unwrap(), expected_late);
    }
    assert_eq!(fixture.database.loads(), 1);
}

#[limited::test]
async fn a_panic_does_not_strand_deferred_waiters() {
    let fixture = Fixture::new().await;
    let (mut gate, load) = Gate::after(|| ());
    let early = enqueue(&fixture.rows, move || {
        Box::pin(async move {
            load().await;
            panic!("on purpose")
        })
    });
    gate.entered().await;
    let late = enqueue(&fixture.rows, fixture.database.loader());
    gate.open();
    assert_eq!(early.await.unwrap(), Err(Failure::Panicked));
    assert_eq!(late.await.unwrap(), loaded(0));
    assert_eq!(
        fixture.rows.get_or_load(NAME, no_load).await.unwrap().value,
        0
    );
}
