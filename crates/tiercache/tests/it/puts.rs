//! Values that writes store: when they are, and when the key is invalidated instead.

use std::time::Duration;

use devstack::{Direction, Mode};
use futures_util::future::BoxFuture;
use tiercache::{CommitWith, Failure, Key};

use crate::support::{
    DbError, Fixture, KEY, NAME, Rows, TTL, config, foreign_marker, long_timeouts, no_load,
    payload, shared_hit, with_prefix,
};

type Commit = BoxFuture<'static, Result<(), DbError>>;

/// A write of one key; `commit` runs between its fence and its end.
async fn write(
    rows: &Rows,
    key: Key,
    commit: impl FnOnce() -> Commit + Send + 'static,
) -> Result<(), Failure<DbError>> {
    let cache = rows.cache();
    let write = cache.write(async move |write| {
        let fenced = write.fence(CommitWith(commit), [key]).await;
        fenced.commit().await
    });
    limited::waiting("a write", write).await
}

fn committed() -> Commit {
    Box::pin(async { Ok(()) })
}

#[limited::test]
async fn a_committed_value_is_stored_and_hit_by_the_next_read() {
    let fixture = Fixture::new().await;
    let replica = fixture.replica(long_timeouts).await;
    for version in 1..=3 {
        let key = fixture.rows.put(NAME, &version);
        write(&fixture.rows, key, committed).await.unwrap();
        assert_eq!(fixture.raw.get(KEY).await.unwrap(), payload(version));
        assert!(fixture.raw.pttl(KEY).await > TTL / 2);
        for rows in [&fixture.rows, &replica.rows] {
            let read = rows.get_or_load(NAME, no_load).await;
            assert_eq!(read, shared_hit(version));
        }
    }
    let stats = fixture.stats();
    assert_eq!((stats.writes, stats.puts), (3, 3));
}

#[limited::test]
async fn a_value_whose_commit_failed_is_not_stored() {
    let fixture = Fixture::new().await;
    let failing = || -> Commit { Box::pin(async { Err(DbError::Unavailable) }) };
    let key = fixture.rows.put(NAME, &1);
    let result = write(&fixture.rows, key, failing).await;
    assert_eq!(result, Err(Failure::Failed(DbError::Unavailable)));
    assert_eq!(fixture.raw.get(KEY).await.unwrap(), b"null");
}

/// Whatever replaced the fence means that a newer value may exist.
#[limited::test]
async fn a_value_is_not_stored_over_anything_but_its_own_fence() {
    let fixture = Fixture::new().await;
    for found in [
        Some(foreign_marker(b'\n')),
        Some(foreign_marker(b'\t')),
        Some(payload(9).to_vec()),
        Some(b"null".to_vec()),
        None,
    ] {
        let (raw, set) = (fixture.raw.clone(), found.clone());
        let replace = move || -> Commit {
            Box::pin(async move {
                match set {
                    Some(bytes) => raw.set(KEY, bytes).await,
                    None => raw.run::<()>(&[b"DEL", KEY.as_bytes()]).await,
                }
                Ok(())
            })
        };
        let key = fixture.rows.put(NAME, &1);
        write(&fixture.rows, key, replace).await.unwrap();
        let left = fixture.raw.get(KEY).await.unwrap();
        assert!(left.starts_with(b"null"), "{found:?} became {left:?}");
    }
    assert_eq!(fixture.stats().puts, 0);
}

/// The fence of the later write is lost, so the earlier one's is still there when it ends.
#[limited::test]
async fn a_value_is_not_stored_after_an_invalidation_that_left_its_fence() {
    let fixture = Fixture::new().await;
    let replica = fixture.replica(long_timeouts).await;
    let rows = replica.rows.clone();
    let later = move || -> Commit {
        Box::pin(async move {
            rows.invalidate(NAME).await;
            Ok(())
        })
    };
    let key = fixture.rows.put(NAME, &1);
    write(&fixture.rows, key, later).await.unwrap();
    assert_eq!(fixture.raw.get(KEY).await.unwrap(), b"null");
}

#[limited::test]
async fn a_value_under_an_unconfirmed_fence_is_not_stored() {
    let fixture = Fixture::new().await;
    let slow = |url| long_timeouts(url).write_timeout(Duration::from_millis(50));
    let replica = fixture.replica(slow).await;
    replica.proxy.set(Direction::ToClient, Mode::Hold);
    let key = replica.rows.put(NAME, &1);
    write(&replica.rows, key, committed).await.unwrap();
    replica.proxy.set(Direction::ToClient, Mode::Pass);
    assert!(fixture.raw.get(KEY).await != Some(payload(1).to_vec()));
}

#[limited::test]
async fn a_value_that_is_not_kept_is_invalidated() {
    let fixture = Fixture::new().await;
    let off = Rows::build(config(&fixture.cache, Duration::ZERO));
    let small = with_prefix(&fixture.cache, "test:small:", TTL).max_payload(3);
    let small = Rows::build(small.shared_only());
    for rows in [off, small] {
        let key = rows.put(NAME, &1);
        let text = key.to_string();
        fixture.raw.set(&text, payload(0)).await;
        write(&rows, key, committed).await.unwrap();
        assert_eq!(fixture.raw.get(&text).await.unwrap(), b"null");
    }
}
