//! While the database is away, the last known value serves, marked.

use super::*;
use crate::support::MAX_STALE;

fn away() -> futures_util::future::BoxFuture<'static, Result<u64, DbError>> {
    Box::pin(async { Err(DbError::Away) })
}

fn stale(answer: crate::support::Answer) -> Option<(u64, Duration)> {
    match answer {
        Ok(CachedValue {
            value,
            source: Source::Stale { age, .. },
        }) => Some((value, age)),
        _ => None,
    }
}

#[tokio::test]
async fn the_last_known_value_serves_marked() {
    let stage = warm().await;
    stage.raw.run::<()>(&[b"DEL", KEY.as_bytes()]).await;
    let get = || stage.rows.get_or_load(NAME, away);
    until("the end of what was remembered", async || {
        get().await.unwrap().source != Source::Local
    })
    .await;
    let (value, age) = stale(get().await).unwrap();
    assert_eq!(value, 0);
    assert!(age < Duration::from_secs(20), "{age:?}");
    assert!(stats(&stage.cache).stale >= 2);
    assert_eq!(stage.get().await.unwrap().value, 0, "well again");
    assert!(!matches!(
        stage.get().await.unwrap().source,
        Source::Stale { .. }
    ));
}

#[tokio::test]
async fn but_not_instead_of_an_answer_that_there_is_none() {
    let stage = warm().await;
    stage.raw.run::<()>(&[b"DEL", KEY.as_bytes()]).await;
    let gone = || -> futures_util::future::BoxFuture<'static, Result<u64, DbError>> {
        Box::pin(async { Err(DbError::NoRow) })
    };
    until("the end of what was remembered", async || {
        stage.rows.get_or_load(NAME, gone).await == Err(tiercache::Failure::Failed(DbError::NoRow))
    })
    .await;
}

#[tokio::test]
async fn but_not_when_a_write_of_this_replica_has_replaced_it() {
    let stage = warm().await;
    stage.put().await;
    let answer = stage.rows.get_or_load(NAME, away).await;
    assert_eq!(answer, Err(tiercache::Failure::Failed(DbError::Away)));
}

#[tokio::test(start_paused = true)]
async fn and_not_beyond_its_greatest_age() {
    let cache = without_shared_level();
    let (rows, database) = (cache.namespace(kept(TTL)).unwrap(), Database::default());
    rows.get_or_load(NAME, database.loader()).await.unwrap();
    tokio::time::advance(TTL + MAX_STALE - Duration::from_secs(1)).await;
    let (_, age) = stale(rows.get_or_load(NAME, away).await).unwrap();
    assert_eq!(age, TTL + MAX_STALE - Duration::from_secs(1));
    tokio::time::advance(Duration::from_secs(2)).await;
    let answer = rows.get_or_load(NAME, away).await;
    assert_eq!(answer, Err(tiercache::Failure::Failed(DbError::Away)));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_long_for_what_is_known_to_be_away() {
    let cache = without_shared_level();
    let (rows, database) = (cache.namespace(kept(TTL)).unwrap(), Database::default());
    rows.get_or_load(NAME, database.loader()).await.unwrap();
    assert!(stale(rows.get_or_load(NAME, away).await).is_some());
    let (mut gate, load) = Gate::after(|| Err(DbError::Away));
    let asked = tokio::time::Instant::now();
    let request = begin(&rows, load);
    gate.entered().await;
    assert!(stale(request.await.unwrap()).is_some());
    assert!(asked.elapsed() <= Duration::from_millis(300));
    gate.open();
}
