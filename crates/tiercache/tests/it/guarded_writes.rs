//! The typed write: fences of several keys, failed commits, dropped guards, nested writes.

use tiercache::CommitWith;

use crate::support::{DbError, Fixture, KEY, NAME, assert_marker};

#[limited::test]
async fn a_write_fences_all_of_its_keys_before_it_commits() {
    let fixture = Fixture::new().await;
    let names = ["MARI", "LET", "IRIS"];
    for name in names {
        let load = fixture.database.loader();
        fixture.rows.get_or_load(name, load).await.unwrap();
    }
    let keys = names.map(|name| fixture.rows.key(name));
    let (raw, fenced) = (fixture.raw.clone(), keys.clone());
    let write = fixture.cache.write(async move |write| {
        let seen = keys.clone();
        let commit = CommitWith(async move || {
            for key in seen {
                assert_marker(&raw.get(key.as_str()).await, b'\n');
            }
            Ok::<_, DbError>(())
        });
        let committed = write.fence(commit, keys).await.commit().await?;
        Ok::<_, DbError>(committed.with(3))
    });
    assert_eq!(limited::waiting("a write", write).await, Ok(3));
    for key in fenced {
        assert_eq!(fixture.raw.get(key.as_str()).await.unwrap(), b"null");
    }
    assert_eq!(fixture.stats().writes, 3);
}

#[limited::test]
async fn a_failed_commit_and_a_dropped_guard_invalidate() {
    let fixture = Fixture::new().await;
    for is_committed in [true, false] {
        fixture.get().await.unwrap();
        assert!(fixture.raw.get(KEY).await.unwrap() != b"null");
        let key = fixture.rows.key(NAME);
        let write = fixture.cache.write(async move |write| {
            let commit = CommitWith(async || Err(DbError::Unavailable));
            let fenced = write.fence(commit, [key]).await;
            if is_committed {
                return fenced.commit().await;
            }
            Err(DbError::NoRow)
        });
        assert!(limited::waiting("a write", write).await.is_err());
        assert_eq!(fixture.raw.get(KEY).await.unwrap(), b"null");
    }
}

/// Each is a transaction of its own, so each ends with its own invalidation.
#[limited::test]
async fn a_write_within_a_write_invalidates_both() {
    let fixture = Fixture::new().await;
    let [outer, inner] = ["MARI", "LET"].map(|name| fixture.rows.key(name));
    let keys = [outer.clone(), inner.clone()];
    let (cache, raw) = (fixture.cache.clone(), fixture.raw.clone());
    let commit = || CommitWith(async || Ok::<_, DbError>(()));
    let write = fixture.cache.write(async move |write| {
        let nested = cache.write(async move |write| {
            let fenced = write.fence(commit(), [inner]).await;
            fenced.commit().await
        });
        limited::waiting("the nested write", nested).await.unwrap();
        let fenced = write.fence(commit(), [outer.clone()]).await;
        assert_marker(&raw.get(outer.as_str()).await, b'\n');
        fenced.commit().await
    });
    limited::waiting("a write", write).await.unwrap();
    for key in keys {
        assert_eq!(fixture.raw.get(key.as_str()).await.unwrap(), b"null");
    }
}
