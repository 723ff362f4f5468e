//! Values of 32 MiB beside small ones: they delay themselves only.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use devstack::Valkey;
use tiercache::{Cache, Namespace, Raw as RawCodec, Source};

use crate::support::{
    Database, DbError, Raw, Rows, TTL, config, loaded, payload, shared_hit, wait_for_shared_level,
    wait_until,
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
    let raw = Raw::connect(&valkey).await;
    for i in 0..LARGE_KEYS {
        raw.set(&format!("test:large:{i}"), vec![b'1'; LARGE]).await;
    }
    let builder = Cache::builder(valkey.url()).read_timeout(BUSY);
    let cache = builder.connect().unwrap();
    let rows = Rows::build(config(&cache, TTL));
    wait_for_shared_level(&cache, true).await;
    (valkey, raw, cache, rows)
}

/// Takes seconds: it reads 32 MiB thirty times.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
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
        let value = namespace.lookup(&key, load).await.unwrap();
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
#[tokio::test]
async fn large_values_are_filled_up_to_the_limit() {
    let (_valkey, raw, cache, _rows) = with_large_keys().await;
    for (key, limit, is_filled) in [(8, 8 << 20, true), (9, (8 << 20) - 1, false)] {
        let namespace = large(&cache, limit);
        let load = || async { Ok(Bytes::from(vec![b'1'; 8 << 20])) };
        let loaded = namespace.lookup(&key, load).await.unwrap();
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
#[tokio::test]
async fn a_frozen_server_is_noticed_while_a_large_value_is_read() {
    let (valkey, _raw, cache, rows) = with_large_keys().await;
    let namespace = large(&cache, LARGE);
    let load = || async { Ok(Bytes::from_static(b"0")) };
    wait_until("a hit", async || {
        namespace.lookup(&0, load).await.unwrap().source == Source::Shared
    })
    .await;
    valkey.pause().unwrap();
    let read = tokio::time::timeout(Duration::from_secs(2), namespace.lookup(&0, load));
    assert_eq!(read.await.unwrap().unwrap().source, Source::Loaded);
    wait_for_shared_level(&cache, false).await;
    let small = rows.get_or_load("MARI", Database::default().loader()).await;
    assert_eq!(small, loaded(0));
    valkey.resume().unwrap();
    wait_for_shared_level(&cache, true).await;
}
