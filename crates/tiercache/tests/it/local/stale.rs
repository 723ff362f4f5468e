//! Stale fallbacks while the database is unavailable.

use super::*;
use crate::support::MAX_STALE;

fn unavailable() -> futures_util::future::BoxFuture<'static, Result<u64, DbError>> {
    Box::pin(async { Err(DbError::Unavailable) })
}

fn stale(response: crate::support::Response) -> Option<(u64, Duration)> {
    match response {
        Ok(crate::support::Read {
            value,
            source: Source::Stale { age, .. },
        }) => Some((value, age)),
        _ => None,
    }
}

#[limited::test]
async fn an_outage_serves_the_last_known_value_marked_stale() {
    let fixture = warm().await;
    fixture.raw.run::<()>(&[b"DEL", KEY.as_bytes()]).await;
    let get = || fixture.rows.get_or_load(NAME, unavailable);
    wait_until("the local entry to be invalidated", async || {
        get().await.unwrap().source != Source::Local
    })
    .await;
    let (value, age) = stale(get().await).unwrap();
    assert_eq!(value, 0);
    assert!(age < Duration::from_secs(20), "{age:?}");
    assert!(stats(&fixture.cache).stale >= 2);
    assert_eq!(
        fixture.get().await.unwrap().value,
        0,
        "the database is available again"
    );
    assert!(!matches!(
        fixture.get().await.unwrap().source,
        Source::Stale { .. }
    ));
}

#[limited::test]
async fn a_read_of_the_current_value_never_gets_a_stale_one() {
    let fixture = warm().await;
    let current = || fixture.rows.get_or_load_current(NAME, unavailable);
    assert_eq!(current().await.unwrap().source, Source::Local);
    fixture.raw.run::<()>(&[b"DEL", KEY.as_bytes()]).await;
    wait_until("the local entry to be invalidated", async || {
        current().await == Err(tiercache::Failure::Failed(DbError::Unavailable))
    })
    .await;
    // The last known value is still there, for readers that may have it.
    let read = fixture.rows.get_or_load(NAME, unavailable).await;
    assert_eq!(stale(read).unwrap().0, 0);
    let before = stats(&fixture.cache).stale;
    assert_eq!(
        current().await,
        Err(tiercache::Failure::Failed(DbError::Unavailable))
    );
    assert_eq!(stats(&fixture.cache).stale, before);
}

#[limited::test]
async fn a_missing_row_is_not_masked_by_a_stale_value() {
    let fixture = warm().await;
    fixture.raw.run::<()>(&[b"DEL", KEY.as_bytes()]).await;
    let gone = || -> futures_util::future::BoxFuture<'static, Result<u64, DbError>> {
        Box::pin(async { Err(DbError::NoRow) })
    };
    wait_until("the local entry to be invalidated", async || {
        fixture.rows.get_or_load(NAME, gone).await
            == Err(tiercache::Failure::Failed(DbError::NoRow))
    })
    .await;
}

#[limited::test]
async fn a_write_of_this_replica_removes_the_stale_value() {
    let fixture = warm().await;
    fixture.put().await;
    let response = fixture.rows.get_or_load(NAME, unavailable).await;
    assert_eq!(
        response,
        Err(tiercache::Failure::Failed(DbError::Unavailable))
    );
}

#[limited::test(start_paused = true)]
async fn a_stale_value_is_not_served_beyond_its_maximum_age() {
    let cache = without_shared_level();
    let (rows, database) = (Rows::build(local_config(&cache, TTL)), Database::default());
    rows.get_or_load(NAME, database.loader()).await.unwrap();
    tokio::time::advance(TTL + MAX_STALE - Duration::from_secs(1)).await;
    let (_, age) = stale(rows.get_or_load(NAME, unavailable).await).unwrap();
    assert_eq!(age, TTL + MAX_STALE - Duration::from_secs(1));
    tokio::time::advance(Duration::from_secs(2)).await;
    let response = rows.get_or_load(NAME, unavailable).await;
    assert_eq!(
        response,
        Err(tiercache::Failure::Failed(DbError::Unavailable))
    );
}

#[limited::test(start_paused = true)]
async fn a_request_waits_at_most_300_ms_during_a_known_outage() {
    let cache = without_shared_level();
    let (rows, database) = (Rows::build(local_config(&cache, TTL)), Database::default());
    rows.get_or_load(NAME, database.loader()).await.unwrap();
    assert!(stale(rows.get_or_load(NAME, unavailable).await).is_some());
    let (mut gate, load) = Gate::after(|| Err(DbError::Unavailable));
    let started = tokio::time::Instant::now();
    let request = enqueue(&rows, load);
    gate.entered().await;
    assert!(stale(request.await.unwrap()).is_some());
    assert!(started.elapsed() <= Duration::from_millis(300));
    gate.open();
}
