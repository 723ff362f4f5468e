//! Hits in memory and in Valkey, each as a ratio to the floor: a bare `get` of quick_cache, and
//! `GET` of redis-rs.

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use redis::AsyncCommands;
use tiercache::{Cache, Namespace, Raw};

use crate::Result;

/// Alternating rounds; the median of their ratios counts.
const ROUNDS: usize = 15;
const ROUND: Duration = Duration::from_millis(100);
const KEYS: usize = 1_000;
/// Concurrent readers of Valkey.
const READERS: usize = 64;

fn names() -> Vec<String> {
    (0..KEYS).map(|i| format!("name-{i}")).collect()
}

fn value() -> Bytes {
    Bytes::from(vec![b'x'; 200])
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Nanoseconds of a call, on average over a round.
fn nanos(names: &[String], mut get: impl FnMut(usize, &str)) -> f64 {
    let (began, mut calls) = (Instant::now(), 0_u32);
    while began.elapsed() < ROUND {
        for (i, name) in names.iter().enumerate() {
            get(i, name);
        }
        calls += KEYS as u32;
    }
    began.elapsed().as_nanos() as f64 / f64::from(calls)
}

/// Hits in memory.
pub async fn memory(url: &str) -> Result<()> {
    let names = names();
    let quick = quick_cache::sync::Cache::new(10 * KEYS);
    let moka = moka::sync::Cache::new(10 * KEYS as u64);
    let cache = Cache::builder(url).memory(64 << 20).connect()?;
    let ours: Namespace<str, Bytes, Infallible> = cache.namespace("hit:memory:", Raw).build()?;
    cache.wait_for_shared_level(true).await;
    cache.wait_for_tracking().await;
    for name in &names {
        quick.insert(name.clone(), value());
        moka.insert(name.clone(), value());
        ours.get(name, async || Ok(value())).await?;
    }
    // The pushes of the fills invalidate what was kept before.
    while names.iter().any(|name| ours.get_local(name).is_none()) {
        for name in &names {
            ours.get(name, async || Ok(value())).await?;
        }
    }
    let handles: Vec<_> = names.iter().map(|name| ours.local_handle(name)).collect();
    let mut times: [Vec<f64>; 4] = Default::default();
    let (mut calls, mut hits) = (0_u64, 0_u64);
    for _ in 0..ROUNDS {
        times[0].push(nanos(&names, |_, name| drop(black_box(quick.get(name)))));
        times[1].push(nanos(&names, |_, name| drop(black_box(moka.get(name)))));
        times[2].push(nanos(&names, |_, name| {
            calls += 1;
            hits += u64::from(black_box(ours.get_local(name)).is_some());
        }));
        times[3].push(nanos(&names, |i, _| {
            calls += 1;
            hits += u64::from(black_box(handles[i].get()).is_some());
        }));
    }
    // A machine without time for the heartbeat bypasses memory: such a run says nothing.
    let bypassed = calls - hits;
    assert!(
        bypassed * 100 < calls,
        "{bypassed} of {calls} calls were no hits"
    );
    println!("Hits in memory\n\n| call | ns | to quick_cache |\n|---|---|---|");
    let labels = [
        "quick_cache `get`",
        "moka `get`",
        "tiercache `get_local`",
        "tiercache `LocalHandle::get`",
    ];
    for (call, measured) in labels.iter().zip(&times) {
        let ratios = measured
            .iter()
            .zip(&times[0])
            .map(|(time, floor)| time / floor);
        let (ratio, time) = (median(ratios.collect()), median(measured.clone()));
        println!("| {call} | {time:.0} | {ratio:.2} |");
    }
    Ok(())
}

/// Reads a second, by concurrent readers: tasks, as the requests of a server are.
async fn rate<F>(readers: usize, read: impl Fn(usize) -> F + Clone + Send + 'static) -> f64
where
    F: Future<Output = ()> + Send + 'static,
{
    let began = Instant::now();
    let tasks = (0..readers).map(|reader| {
        let read = read.clone();
        tokio::spawn(async move {
            let mut count = 0_usize;
            while began.elapsed() < ROUND * 3 {
                read((reader * 31 + count * 7) % KEYS).await;
                count += 1;
            }
            count
        })
    });
    let counts = join_all(tasks.collect::<Vec<_>>()).await;
    let count: usize = counts
        .into_iter()
        .map(|count| count.expect("a reader"))
        .sum();
    count as f64 / began.elapsed().as_secs_f64()
}

/// Hits in Valkey.
pub async fn valkey(url: &str) -> Result<()> {
    let client = redis::Client::open(url)?;
    let connection = client.get_multiplexed_async_connection().await?;
    let names: Arc<[String]> = names().into();
    let cache = Cache::builder(url).connect()?;
    let ours: Namespace<str, Bytes, Infallible> = cache.namespace("hit:valkey:", Raw).build()?;
    cache.wait_for_shared_level(true).await;
    for name in names.iter() {
        ours.get(name, async || Ok(value())).await?;
    }
    let keys: Arc<[String]> = names
        .iter()
        .map(|name| ours.key(name).to_string())
        .collect();
    let floor = move |i: usize| {
        let (mut connection, keys) = (connection.clone(), Arc::clone(&keys));
        async move {
            let value: Option<Vec<u8>> = connection.get(&keys[i]).await.expect("GET");
            assert!(value.is_some());
        }
    };
    let ours = move |i: usize| {
        let (ours, names) = (ours.clone(), Arc::clone(&names));
        async move {
            let load = async || unreachable!("a hit");
            drop(ours.get(&names[i], load).await.expect("a hit"));
        }
    };
    println!(
        "\nHits in Valkey, reads a second\n\n| readers | redis-rs `GET` | tiercache `get` | ratio |\n|---|---|---|---|"
    );
    for readers in [1, READERS] {
        let mut rounds = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            let floor = rate(readers, floor.clone()).await;
            rounds.push((floor, rate(readers, ours.clone()).await));
        }
        let of = |figure: fn(&(f64, f64)) -> f64| median(rounds.iter().map(figure).collect());
        let (floor, ours) = (of(|round| round.0), of(|round| round.1));
        let ratio = of(|round| round.1 / round.0);
        println!("| {readers} | {floor:.0} | {ours:.0} | {ratio:.2} |");
    }
    Ok(())
}
