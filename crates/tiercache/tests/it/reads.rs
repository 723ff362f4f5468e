//! Reads: hits, misses, unusable entries, errors.

use std::time::Duration;

use tiercache::{Cache, Failure};

use crate::support::{
    DbError, Fixture, KEY, NAME, Rows, cache, config, loaded, payload, shared_hit,
};

#[limited::test]
async fn a_miss_loads_once_and_the_next_read_is_a_hit() {
    let fixture = Fixture::new().await;
    assert_eq!(fixture.get().await, loaded(0));
    assert_eq!(fixture.get().await, shared_hit(0));
    assert_eq!(fixture.database.loads(), 1);
    let stats = fixture.stats();
    assert_eq!(
        (
            &*stats.name,
            stats.requests,
            stats.hits,
            stats.loads,
            stats.fills
        ),
        ("row", 2, 1, 1, 1)
    );
}

#[limited::test]
async fn an_entry_written_by_another_process_is_a_hit() {
    let fixture = Fixture::new().await;
    fixture.raw.set(KEY, " {\"v\": 41, \"more\": null} ").await;
    assert_eq!(fixture.get().await, shared_hit(41));
    assert_eq!(fixture.database.loads(), 0);
}

#[limited::test]
async fn an_unusable_payload_is_a_miss_and_is_replaced() {
    let fixture = Fixture::new().await;
    let almost_a_lease = [b"null\t", &[b'x'; 64][..]].concat();
    let unusable: [&[u8]; 8] = [
        b"",
        b"{\"v\":",
        b"[1]",
        b"{\"v\":\"1\"}",
        b"\xff\xfe",
        b"null ",
        b"null\n",
        &almost_a_lease,
    ];
    for (i, poison) in unusable.into_iter().enumerate() {
        fixture.raw.set(KEY, poison).await;
        assert_eq!(fixture.get().await, loaded(0));
        assert_eq!(fixture.raw.get(KEY).await.unwrap(), payload(0));
        assert_eq!(fixture.stats().rejected, i as u64 + 1);
    }
}

#[limited::test]
async fn a_key_of_another_type_is_a_miss_and_is_replaced() {
    let fixture = Fixture::new().await;
    fixture
        .raw
        .run::<()>(&[b"HSET", KEY.as_bytes(), b"a", b"b"])
        .await;
    assert_eq!(fixture.get().await, loaded(0));
    assert_eq!(fixture.get().await, shared_hit(0));
    assert_eq!(fixture.stats().rejected, 1);
}

#[limited::test]
async fn a_loader_error_is_not_cached_and_releases_the_lease() {
    let fixture = Fixture::new().await;
    for error in [DbError::NoRow, DbError::Unavailable] {
        let response = fixture
            .rows
            .get_or_load(NAME, async move || Err(error))
            .await;
        assert_eq!(response, Err(Failure::Failed(error)));
        assert_eq!(fixture.raw.get(KEY).await, None);
    }
    assert_eq!(fixture.get().await, loaded(0));
    assert_eq!(fixture.stats().load_failures, 2);
}

#[limited::test]
async fn a_ttl_of_zero_disables_caching() {
    let fixture = Fixture::new().await;
    let rows = Rows::build(config(&fixture.cache, Duration::ZERO));
    fixture.raw.set(KEY, payload(41)).await;
    for _ in 0..2 {
        assert_eq!(
            rows.get_or_load(NAME, fixture.database.loader()).await,
            loaded(0)
        );
    }
    assert_eq!(fixture.database.loads(), 2);
    assert_eq!(fixture.raw.get(KEY).await.unwrap(), payload(41));
}

#[limited::test]
async fn an_invalid_url_is_an_error_without_the_password() {
    for url in [
        "nonsense",
        "http://valkey:6379",
        "redis://:secret@host:port/0",
    ] {
        let builder = Cache::builder(url);
        assert!(!format!("{builder:?}").contains("secret"));
        let error = builder.connect().err().expect(url).to_string();
        assert!(!error.contains("secret"), "{error}");
    }
}

#[limited::test]
fn a_cache_outside_a_runtime_is_an_error() {
    let error = Cache::local_builder().connect().err();
    assert_eq!(error, Some(tiercache::ConfigError::NoRuntime));
}

#[limited::test]
async fn the_counters_of_a_dropped_namespace_are_dropped() {
    let (cache, rows) = cache(Cache::local_builder()).await;
    for _ in 0..10 {
        drop(Rows::build(config(&cache, Duration::from_secs(1))));
    }
    let names = |stats: tiercache::CacheStats| stats.namespaces.len();
    assert_eq!(names(cache.stats()), 1);
    drop(rows);
    assert_eq!(names(cache.stats()), 0);
}
