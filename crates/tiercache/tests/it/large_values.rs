//! Values of 32 MiB beside small ones: they delay themselves only. Most of these tests take seconds, since
//! the server gets three such values.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use devstack::Valkey;
use tiercache::{Cache, Namespace, Raw as RawCodec, Source};

use crate::support::{
    Database, DbError, Raw, Rows, SlowLink, TTL, Warnings, config, loaded, payload, shared_hit,
    wait_for_shared_level, wait_until, with_tls,
};

const LARGE: usize = 32 << 20;
const LARGE_KEYS: usize = 3;

fn large(cache: &Cache, limit: usize) -> Namespace<u64, Bytes, DbError> {
    let namespace = cache.namespace("test:large:", RawCodec);
    namespace.shared_only().max_payload(limit).build().unwrap()
}

/// On a machine that is busy with other tests the server may need this long for 32 MiB.
const BUSY: Duration = Duration::from_millis(250);

async fn with_large_keys() -> (Valkey, Raw, Cache, Rows) {
    let valkey = Valkey::start().await.unwrap();
    let url = valkey.url();
    with_large_keys_at(valkey, url).await
}

async fn with_large_keys_at(valkey: Valkey, url: String) -> (Valkey, Raw, Cache, Rows) {
    let raw = Raw::connect(&valkey).await;
    for i in 0..LARGE_KEYS {
        raw.set(&format!("test:large:{i}"), vec![b'1'; LARGE]).await;
    }
    let builder = Cache::builder(url).read_timeout(BUSY);
    let cache = builder.connect().unwrap();
    let rows = Rows::build(config(&cache, TTL));
    wait_for_shared_level(&cache, true).await;
    (valkey, raw, cache, rows)
}

/// Takes seconds: it reads 32 MiB thirty times.
#[limited::test(worker_threads = 2)]
async fn small_values_are_served_while_large_ones_are_read() {
    let (_valkey, raw, cache, rows) = with_large_keys().await;
    raw.set("test:row:MARI", payload(7)).await;
    let namespace = large(&cache, LARGE);
    let is_over = Arc::new(AtomicBool::new(false));
    let reading = {
        let (rows, is_over) = (rows.clone(), Arc::clone(&is_over));
        tokio::spawn(async move {
            let (mut small, mut hits) = (0_u64, 0);
            let mut slowest: Vec<Duration> = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                let began = tokio::time::Instant::now();
                let read = rows.get_or_load("MARI", Database::default().loader()).await;
                slowest.push(began.elapsed());
                small += 1;
                hits += u64::from(read == shared_hit(7));
            }
            slowest.sort_by_key(|elapsed| std::cmp::Reverse(*elapsed));
            println!(
                "p99 of {small} small reads: {:?}",
                slowest[slowest.len() / 100]
            );
            (small, hits)
        })
    };
    let (mut read, mut from_valkey) = (0, 0);
    while read < 30 {
        let key = read % LARGE_KEYS as u64;
        let load = || async { Ok(Bytes::from_static(b"0")) };
        let value = limited::waiting("a large value", namespace.lookup(&key, load))
            .await
            .unwrap();
        from_valkey += u64::from(value.source == Source::Shared && value.value.len() == LARGE);
        read += 1;
    }
    is_over.store(true, Ordering::Relaxed);
    let (small, hits) = reading.await.unwrap();
    assert!(
        hits * 100 >= small * 99,
        "{hits} of {small} small reads were hits"
    );
    assert!(small > 100, "only {small} small reads");
    // The first read of each key may be cut short: nobody knew that it is large.
    assert!(
        from_valkey >= read - LARGE_KEYS as u64,
        "{from_valkey} of {read}"
    );
    assert_eq!(cache.stats().breaker_openings, 0);
}

/// Its key is known to be large from the fill on, and what exceeds the limit is counted, not stored.
#[limited::test]
async fn large_values_are_filled_up_to_the_limit() {
    let (_valkey, raw, cache, _rows) = with_large_keys().await;
    for (key, limit, is_filled) in [(8, 8 << 20, true), (9, (8 << 20) - 1, false)] {
        let namespace = large(&cache, limit);
        let load = || async { Ok(Bytes::from(vec![b'1'; 8 << 20])) };
        let loaded = limited::waiting("a large value", namespace.lookup(&key, load))
            .await
            .unwrap();
        assert_eq!(loaded.source, Source::Loaded);
        let stored: Option<Vec<u8>> = raw.get(&format!("test:large:{key}")).await;
        assert_eq!(
            stored.is_some_and(|stored| stored.len() == 8 << 20),
            is_filled
        );
        let stats = cache.stats().namespaces.pop().unwrap();
        assert_eq!(
            (stats.fills, stats.oversized),
            (is_filled.into(), (!is_filled).into())
        );
    }
    assert_eq!(cache.stats().breaker_openings, 0);
}

/// A server that is stopped is unavailable however large its keys are.
#[limited::test]
async fn a_frozen_server_is_noticed_while_a_large_value_is_read() {
    assert_frozen_is_noticed(with_large_keys().await).await;
}

/// As above: that no byte moves is seen through TLS too.
#[limited::test]
async fn a_frozen_server_with_tls_is_noticed_while_a_large_value_is_read() {
    let valkey = Valkey::start_with_tls().await.unwrap();
    let url = tls_url(&valkey, |port| (Ipv4Addr::LOCALHOST, port).into());
    assert_frozen_is_noticed(with_large_keys_at(valkey, url).await).await;
}

/// The URL of a server with TLS, or of a link that leads to its port.
fn tls_url(valkey: &Valkey, link: impl FnOnce(u16) -> SocketAddr) -> String {
    let (port, files) = valkey.tls().unwrap();
    with_tls(link(port), files)
}

async fn assert_frozen_is_noticed((valkey, _raw, cache, rows): (Valkey, Raw, Cache, Rows)) {
    let namespace = large(&cache, LARGE);
    let load = || async { Ok(Bytes::from_static(b"0")) };
    wait_until("a hit", async || {
        limited::waiting("a large value", namespace.lookup(&0, load))
            .await
            .unwrap()
            .source
            == Source::Shared
    })
    .await;
    valkey.pause().unwrap();
    let read = limited::within(Duration::from_secs(2), "a read", namespace.lookup(&0, load));
    assert_eq!(read.await.unwrap().source, Source::Loaded);
    wait_for_shared_level(&cache, false).await;
    let small = rows.get_or_load("MARI", Database::default().loader()).await;
    assert_eq!(small, loaded(0));
    valkey.resume().unwrap();
    wait_for_shared_level(&cache, true).await;
}

/// A value that arrives for longer than every timeout, from a server behind a slow link.
async fn assert_arriving_is_no_silence(valkey: &Valkey, url: String) {
    const LEN: usize = 4 << 20;
    let raw = Raw::connect(valkey).await;
    raw.set("test:large:0", vec![b'1'; LEN]).await;
    let builder = Cache::builder(url).read_timeout(BUSY);
    let cache = builder.connect().unwrap();
    let namespace = large(&cache, LEN);
    wait_for_shared_level(&cache, true).await;
    let mut sources = Vec::new();
    for _ in 0..5 {
        let load = || async { Ok(Bytes::from_static(b"0")) };
        sources.push(
            limited::waiting("a large value", namespace.lookup(&0, load))
                .await
                .unwrap()
                .source,
        );
    }
    // Nobody knew at first that it is large.
    assert_eq!(sources[0], Source::Loaded);
    assert_eq!(sources[1..], [Source::Shared; 4]);
    assert_eq!(cache.stats().breaker_openings, 0);
}

/// Takes seconds: each read takes 0.7 s.
#[limited::test]
async fn a_reply_that_is_arriving_is_a_sign_of_life() {
    let valkey = Valkey::start().await.unwrap();
    let link = SlowLink::start(valkey.addr()).await;
    let url = format!("redis://{}/0", link.addr());
    assert_arriving_is_no_silence(&valkey, url).await;
}

/// As above, with TLS.
#[limited::test]
async fn a_reply_that_is_arriving_over_tls_is_a_sign_of_life() {
    let valkey = Valkey::start_with_tls().await.unwrap();
    let (port, _files) = valkey.tls().unwrap();
    let link = SlowLink::start((Ipv4Addr::LOCALHOST, port).into()).await;
    let url = tls_url(&valkey, |_| link.addr());
    assert_arriving_is_no_silence(&valkey, url).await;
}

/// A value that changes while it is read in parts is never a mixture. Takes a second.
#[limited::test(worker_threads = 2)]
async fn a_value_that_changes_while_it_is_read_is_not_torn() {
    const LEN: usize = 8 << 20;
    let (_valkey, raw, cache, _rows) = with_large_keys().await;
    let namespace = large(&cache, LEN);
    raw.set("test:large:0", vec![b'0'; LEN]).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let writing = {
        let is_over = Arc::clone(&is_over);
        tokio::spawn(async move {
            for digit in (b'0'..=b'9').cycle() {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                raw.set("test:large:0", vec![digit; LEN]).await;
            }
            raw
        })
    };
    let load = || async { Ok(Bytes::from_static(b"0")) };
    let mut from_valkey = 0;
    for _ in 0..30 {
        let read = limited::waiting("a large value", namespace.lookup(&0, load))
            .await
            .unwrap();
        assert!(read.value.iter().all(|byte| *byte == read.value[0]), "torn");
        from_valkey += usize::from(read.source == Source::Shared);
    }
    is_over.store(true, Ordering::Relaxed);
    let raw = writing.await.unwrap();
    assert!(from_valkey > 0);
    let statistics: String = raw.run(&[b"INFO", b"commandstats"]).await;
    assert!(statistics.contains("cmdstat_getrange"), "{statistics}");
}

/// A user that may not use WATCH, as the rules of earlier versions are.
#[limited::test]
async fn large_values_are_read_whole_where_parts_are_forbidden() {
    let warnings = Warnings::capture();
    let (valkey, raw, _cache, _rows) = with_large_keys().await;
    raw.set_acl(b"-watch -getrange").await;
    let builder = Cache::builder(valkey.url()).read_timeout(BUSY);
    let cache = builder.connect().unwrap();
    wait_for_shared_level(&cache, true).await;
    let namespace = large(&cache, LARGE);
    let load = || async { Ok(Bytes::from_static(b"0")) };
    for _ in 0..3 {
        limited::waiting("a large value", namespace.lookup(&0, load))
            .await
            .unwrap();
    }
    let read = limited::waiting("a large value", namespace.lookup(&0, load))
        .await
        .unwrap();
    assert_eq!((read.source, read.value.len()), (Source::Shared, LARGE));
    warnings.assert_one("large values delay others");
}

/// A tombstone stands for the value that it replaced: the next one is known to be large.
#[limited::test]
async fn a_key_is_known_to_be_large_after_an_invalidation() {
    let (_valkey, raw, cache, _rows) = with_large_keys().await;
    let namespace = large(&cache, LARGE);
    wait_until("a hit", async || namespace.peek(&0).await.is_some()).await;
    raw.set("test:large:0", "null").await;
    assert_eq!(limited::waiting("a peek", namespace.peek(&0)).await, None);
    raw.run::<u64>(&[b"DEL", b"test:large:0"]).await;
    assert_eq!(limited::waiting("a peek", namespace.peek(&0)).await, None);
    raw.set("test:large:0", vec![b'1'; LARGE]).await;
    raw.run::<()>(&[b"CONFIG", b"RESETSTAT"]).await;
    assert_eq!(
        limited::waiting("a peek", namespace.peek(&0))
            .await
            .unwrap()
            .len(),
        LARGE
    );
    let statistics: String = raw.run(&[b"INFO", b"commandstats"]).await;
    assert!(statistics.contains("cmdstat_getrange:"), "{statistics}");
    assert!(!statistics.contains("cmdstat_get:"), "{statistics}");
}
