//! Reads of the shared level without a loader.

use tiercache::{Cache, Raw};

use crate::support::{
    Fixture, KEY, MEMORY, NAME, Proxies, foreign_marker, payload, traceback, wait_for_shared_level,
};

#[limited::test]
async fn peek_returns_what_the_shared_level_has() {
    let fixture = Fixture::new().await;
    let found = async || fixture.rows.peek(NAME).await;
    assert_eq!(found().await, None);
    fixture.raw.set(KEY, payload(7)).await;
    assert_eq!(found().await, Some(7));
    for unusable in [
        b"null".to_vec(),
        b"[1]".to_vec(),
        foreign_marker(b'\t'),
        foreign_marker(b'\n'),
    ] {
        fixture.raw.set(KEY, &unusable).await;
        assert_eq!(found().await, None);
        assert_eq!(fixture.raw.get(KEY).await.unwrap(), unusable, "unchanged");
    }
    fixture.raw.run::<()>(&[b"DEL", KEY.as_bytes()]).await;
    let list: &[&[u8]] = &[b"RPUSH", KEY.as_bytes(), b"x"];
    fixture.raw.run::<()>(list).await;
    assert_eq!(found().await, None);
    assert_eq!(fixture.database.loads(), 0);
}

#[limited::test]
async fn peek_keeps_what_it_finds_and_serves_it_locally() {
    let fixture = Fixture::with(|url| Cache::builder(url).memory(MEMORY)).await;
    fixture.raw.set(KEY, payload(7)).await;
    assert_eq!(fixture.rows.get_local(NAME), None);
    for _ in 0..2 {
        assert_eq!(fixture.rows.peek(NAME).await, Some(7));
    }
    assert_eq!(fixture.rows.get_local(NAME), Some(7));
    let stats = fixture.stats();
    assert_eq!((stats.hits, stats.local_hits), (1, 2));
}

#[limited::test]
async fn peek_reads_a_key_of_other_programs_as_it_is() {
    let fixture = Fixture::new().await;
    let traceback = traceback(&fixture.cache);
    fixture.raw.set("traceback", "an error\n").await;
    assert_eq!(
        limited::waiting("a peek", traceback.peek(""))
            .await
            .unwrap(),
        "an error\n"
    );
}

#[limited::test]
async fn peek_returns_nothing_while_the_shared_level_is_unavailable() {
    let fixture = Fixture::new().await;
    fixture.raw.set("traceback", "an error\n").await;
    let proxy = Proxies::start(&fixture.valkey).await;
    let cache = Cache::builder(proxy.url()).connect().unwrap();
    let traceback = cache
        .namespace::<str, bytes::Bytes, ()>("traceback", Raw)
        .build()
        .unwrap();
    wait_for_shared_level(&cache, true).await;
    assert!(
        limited::waiting("a peek", traceback.peek(""))
            .await
            .is_some()
    );
    proxy.refuse(true).await.unwrap();
    proxy.reset_all();
    wait_for_shared_level(&cache, false).await;
    assert_eq!(limited::waiting("a peek", traceback.peek("")).await, None);
}
