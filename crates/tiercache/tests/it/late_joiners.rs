//! Who comes while a flight is under way, and what of it is for him.

use std::time::Duration;

use devstack::{Direction, Mode};
use tiercache::{Failure, Settings};

use crate::support::{
    DbError, Gate, KEY, NAME, Stage, begin, cache, loaded, no_load, patient, payload, put, until,
};

#[tokio::test]
async fn whoever_comes_during_a_load_takes_a_value_that_was_filled() {
    let stage = Stage::new().await;
    let database = stage.database.clone();
    let (mut gate, load) = Gate::after(move || Ok(database.select()));
    let early = begin(&stage.rows, load);
    gate.entered().await;
    let late = begin(&stage.rows, no_load);
    gate.open();
    assert_eq!(early.await.unwrap(), loaded(0));
    assert_eq!(late.await.unwrap(), loaded(0));
    assert_eq!(stage.database.loads(), 1);
}

#[tokio::test]
async fn whoever_comes_after_a_write_does_not_take_what_was_loaded_before() {
    let stage = Stage::new().await;
    let database = stage.database.clone();
    let (mut gate, load) = Gate::after(move || Ok(database.select()));
    let early = begin(&stage.rows, load);
    gate.entered().await;
    assert_eq!(stage.put().await, 1);
    let late = begin(&stage.rows, stage.database.loader());
    gate.open();
    assert_eq!(early.await.unwrap(), loaded(0));
    assert_eq!(late.await.unwrap(), loaded(1));
}

#[tokio::test]
async fn whoever_comes_after_a_write_elsewhere_does_not_either() {
    let stage = Stage::new().await;
    let neighbour = stage.neighbour(patient).await;
    let database = stage.database.clone();
    let (mut gate, load) = Gate::after(move || Ok(database.select()));
    let early = begin(&neighbour.rows, load);
    gate.entered().await;
    assert_eq!(stage.put().await, 1);
    let late = begin(&neighbour.rows, stage.database.loader());
    gate.open();
    assert_eq!(early.await.unwrap(), loaded(0));
    assert_eq!(late.await.unwrap(), loaded(1));
}

/// That FILL was accepted says nothing of what happened while its answer was under way.
#[tokio::test]
async fn whoever_comes_when_the_fill_was_executed_does_not_take_it() {
    let stage = Stage::new().await;
    let neighbour = stage.neighbour(patient).await;
    // Valkey shall know the script, for the answer that it does not would be held, too.
    stage.get().await.unwrap();
    stage.raw.run::<()>(&[b"DEL", KEY.as_bytes()]).await;
    let database = stage.database.clone();
    let (mut gate, load) = Gate::after(move || Ok(database.select()));
    let early = begin(&neighbour.rows, load);
    gate.entered().await;
    let standby = begin(&neighbour.rows, no_load);
    neighbour.proxy.set(Direction::ToClient, Mode::Hold);
    gate.open();
    until("the fill is executed", async || {
        stage.raw.get(KEY).await == Some(payload(0).to_vec())
    })
    .await;
    assert_eq!(stage.put().await, 1);
    let late = begin(&neighbour.rows, stage.database.loader());
    neighbour.proxy.set(Direction::ToClient, Mode::Pass);
    assert_eq!(early.await.unwrap(), loaded(0));
    assert_eq!(
        standby.await.unwrap(),
        loaded(0),
        "came before the write began"
    );
    assert_eq!(late.await.unwrap(), loaded(1));
}

/// Neither its fence nor its FIN was executed, so the lease stands and FILL would be accepted.
#[tokio::test]
async fn whoever_comes_after_a_write_that_valkey_refused_to_hear_of_does_not_either() {
    // Nothing is settled in the background meanwhile.
    let stage = Stage::with(|url| Settings {
        heartbeat: Duration::from_secs(60),
        ..patient(url)
    })
    .await;
    let database = stage.database.clone();
    let (mut gate, load) = Gate::after(move || Ok(database.select()));
    let early = begin(&stage.rows, load);
    gate.entered().await;
    stage.raw.permit(b"-set -eval -evalsha").await;
    assert_eq!(stage.put().await, 1);
    stage.raw.permit(b"+set +eval +evalsha").await;
    let late = begin(&stage.rows, stage.database.loader());
    gate.open();
    assert_eq!(early.await.unwrap(), loaded(0));
    assert_eq!(late.await.unwrap(), loaded(1));
    assert_eq!(
        (stage.stats().invalidations_queued, stage.stats().fills),
        (1, 0)
    );
    assert_eq!(stage.raw.get(KEY).await, None);
}

/// The same for a hit: GET has read the old value, and its answer is under way.
#[tokio::test]
async fn whoever_comes_when_the_get_was_executed_does_not_take_it() {
    let stage = Stage::new().await;
    stage.get().await.unwrap();
    let neighbour = stage.neighbour(patient).await;
    neighbour.proxy.set(Direction::ToClient, Mode::Hold);
    let asked = neighbour.proxy.bytes(Direction::ToServer);
    let early = begin(&neighbour.rows, no_load);
    // A heartbeat may be what was sent; then the GET is executed after the write, which the
    // assertions below allow for.
    until("the GET is sent", async || {
        neighbour.proxy.bytes(Direction::ToServer) > asked + 30
    })
    .await;
    stage.raw.run::<String>(&[b"PING"]).await;
    assert_eq!(put(&stage.rows, &stage.database).await, 1);
    let late = begin(&neighbour.rows, stage.database.loader());
    neighbour.proxy.set(Direction::ToClient, Mode::Pass);
    assert_eq!(early.await.unwrap().unwrap().value, 0);
    assert_eq!(late.await.unwrap().unwrap().value, 1);
}

#[tokio::test]
async fn without_a_fill_all_the_late_share_one_more_load() {
    let (_cache, rows) = cache(Settings::default()).await;
    let (mut gate, load) = Gate::after(|| Ok(1));
    let early = begin(&rows, load);
    gate.entered().await;
    let first_late = begin(&rows, || Box::pin(async { Ok(2) }));
    let other_late: Vec<_> = (0..100).map(|_| begin(&rows, no_load)).collect();
    gate.open();
    assert_eq!(early.await.unwrap(), loaded(1));
    assert_eq!(first_late.await.unwrap(), loaded(2));
    for late in other_late {
        assert_eq!(late.await.unwrap(), loaded(2));
    }
}

#[tokio::test]
async fn an_outage_is_for_all_who_wait_but_any_other_error_is_not() {
    let stage = Stage::new().await;
    for (error, for_the_late) in [
        (DbError::Away, Err(Failure::Failed(DbError::Away))),
        (DbError::NoRow, loaded(0)),
    ] {
        let (mut gate, load) = Gate::after(move || Err(error));
        let early = begin(&stage.rows, load);
        gate.entered().await;
        let late = begin(&stage.rows, stage.database.loader());
        gate.open();
        assert_eq!(early.await.unwrap(), Err(Failure::Failed(error)));
        assert_eq!(late.await.unwrap(), for_the_late);
    }
    assert_eq!(stage.database.loads(), 1);
}

#[tokio::test]
async fn a_panic_does_not_strand_those_who_came_late() {
    let stage = Stage::new().await;
    let (mut gate, load) = Gate::after(|| ());
    let early = begin(&stage.rows, move || {
        Box::pin(async move {
            load().await;
            panic!("on purpose")
        })
    });
    gate.entered().await;
    let late = begin(&stage.rows, stage.database.loader());
    gate.open();
    assert_eq!(early.await.unwrap(), Err(Failure::Panicked));
    assert_eq!(late.await.unwrap(), loaded(0));
    assert_eq!(
        stage.rows.get_or_load(NAME, no_load).await.unwrap().value,
        0
    );
}
