//! Single flight: concurrent requests for a key share one fetch.

use std::time::Duration;

use tiercache::{Cache, Failure, SharedLevel};

use crate::support::{
    Fixture, Gate, KEY, NAME, Rows, cache, decode, enqueue, loaded, long_timeouts, no_load,
    payload, shared_hit, wait_until, within_a_second,
};

#[limited::test]
async fn a_panicking_loader_fails_its_own_waiters_only() {
    let fixture = Fixture::new().await;
    let in_the_future = fixture
        .rows
        .get_or_load(NAME, async || panic!("on purpose"))
        .await;
    assert_eq!(in_the_future, Err(Failure::Panicked));
    let in_the_call = enqueue(&fixture.rows, || panic!("on purpose"));
    let second = enqueue(&fixture.rows, no_load);
    assert_eq!(in_the_call.await.unwrap(), Err(Failure::Panicked));
    assert_eq!(second.await.unwrap(), Err(Failure::Panicked));
    assert_eq!(fixture.raw.get(KEY).await, None, "the lease is released");
    assert_eq!(fixture.get().await, loaded(0));
}

#[limited::test]
async fn a_panic_while_encoding_does_not_block_the_key() {
    let fixture = Fixture::new().await;
    let encode = |version: &u64| {
        if *version == 0 {
            panic!("on purpose")
        } else {
            payload(*version)
        }
    };
    let codec = tiercache::codec(encode, decode);
    let rows = Rows::build(fixture.cache.namespace("test:row:", codec).shared_only());
    assert_eq!(
        rows.get_or_load(NAME, async || Ok(0)).await,
        Err(Failure::Panicked)
    );
    // Only the lease is left, until it expires.
    fixture.raw.run::<()>(&[b"DEL", KEY.as_bytes()]).await;
    let next = rows.get_or_load(NAME, async || Ok(1));
    assert_eq!(within_a_second(next).await, loaded(1));
}

#[limited::test]
async fn a_thousand_concurrent_misses_call_the_loader_once() {
    let fixture = Fixture::new().await;
    let requests: Vec<_> = (0..1000)
        .map(|_| enqueue(&fixture.rows, fixture.database.loader()))
        .collect();
    for request in requests {
        assert_eq!(request.await.unwrap(), loaded(0));
    }
    assert_eq!(fixture.database.loads(), 1);
}

#[limited::test]
async fn a_thousand_concurrent_misses_on_two_replicas_call_the_loader_once() {
    let fixture = Fixture::with(|url| long_timeouts(url).lease_wait(Duration::from_secs(10))).await;
    let replica = fixture
        .replica(|url| long_timeouts(url).lease_wait(Duration::from_secs(10)))
        .await;
    let requests: Vec<_> = (0..1000)
        .map(|i| {
            if i % 2 == 0 {
                &fixture.rows
            } else {
                &replica.rows
            }
        })
        .map(|rows| enqueue(rows, fixture.database.loader()))
        .collect();
    for request in requests {
        assert_eq!(request.await.unwrap().unwrap().value, 0);
    }
    assert_eq!(fixture.database.loads(), 1);
}

#[limited::test]
async fn a_cancelled_request_does_not_cancel_the_flight() {
    let fixture = Fixture::new().await;
    let database = fixture.database.clone();
    let (mut gate, load) = Gate::after(move || Ok(database.select()));
    let leader = enqueue(&fixture.rows, load);
    gate.entered().await;
    let second = enqueue(&fixture.rows, no_load);
    leader.abort();
    assert!(leader.await.unwrap_err().is_cancelled());
    gate.open();
    assert_eq!(second.await.unwrap(), loaded(0));
    assert_eq!(fixture.get().await, shared_hit(0));
}

#[limited::test]
async fn a_fetch_without_waiters_does_not_load() {
    let fixture = Fixture::new().await;
    enqueue(&fixture.rows, no_load).abort();
    // The in-flight slot is free once the flight has ended and released its lease.
    wait_until("the end of the flight", async || {
        fixture.stats().fetches == 1 && fixture.raw.get(KEY).await.is_none()
    })
    .await;
    assert_eq!(fixture.stats().loads, 0);
    assert_eq!(fixture.get().await, loaded(0));
}

#[limited::test]
async fn single_flight_works_without_a_shared_level() {
    let (cache, rows) = cache(Cache::local_builder()).await;
    assert_eq!(cache.stats().shared_level, SharedLevel::Off);
    let (mut gate, load) = Gate::after(|| Ok(1));
    let first = enqueue(&rows, load);
    let second = enqueue(&rows, no_load);
    gate.entered().await;
    gate.open();
    assert_eq!(first.await.unwrap(), loaded(1));
    assert_eq!(second.await.unwrap(), loaded(1));
    assert_eq!(rows.get_or_load(NAME, async || Ok(2)).await, loaded(2));
}
