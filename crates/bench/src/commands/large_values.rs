//! Values of 32 MiB beside small ones, all in Valkey: the hits and the waits of the small reads, with
//! the cache's default settings.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use devstack::Valkey;
use tiercache::{Cache, Namespace, Raw, Source};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{milliseconds, verdict};
use crate::Outcome;

/// The size of a large value.
const LARGE: usize = 32 << 20;
const LARGE_KEYS: u64 = 3;
const SMALL: usize = 200;
const SMALL_KEYS: u64 = 100;
/// Concurrent readers of small values. Each pauses for a millisecond after a read.
const READERS: u64 = 8;
const PAUSE: Duration = Duration::from_millis(1);
/// The least share of small reads that Valkey serves.
const HITS: f64 = 0.99;
/// The 99th percentile of their waits.
const P99: Duration = Duration::from_millis(5);

type Values = Namespace<u64, Bytes, Infallible>;

pub(super) async fn run(time: Duration) -> Outcome {
    let valkey = Valkey::start().await?;
    let cache = Cache::builder(valkey.url()).connect()?;
    let [small, large] = ["bench:small:", "bench:large:"].map(|prefix| {
        let namespace = cache.namespace(prefix, Raw).ttl(Duration::from_secs(3_600));
        namespace.shared_only().max_payload(LARGE).build()
    });
    let (small, large) = (small?, large?);
    cache.wait_for_shared_level(true).await;
    fill(&valkey).await?;
    println!(
        "{READERS} readers of values of {SMALL} bytes, a pause of {PAUSE:?} after each read; one reader of values of {} MiB\n",
        LARGE >> 20
    );
    println!(
        "| large values | small reads/s | of Valkey | p50 ms | p99 ms | slowest ms | large reads/s | of Valkey |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let mut measured = Vec::new();
    for (name, pause) in [
        ("none", None),
        ("ten a second", Some(Duration::from_millis(100))),
        ("without a pause", Some(Duration::ZERO)),
    ] {
        let phase = Phase::run(&small, &large, pause, time).await?;
        println!("| {name} | {}", phase.row(time));
        measured.push(phase);
    }
    let all = |holds: fn(&Phase) -> bool| measured.iter().all(holds);
    verdict(&[
        (
            "at least 99 % of the small reads are hits in Valkey",
            all(|phase| phase.share() >= HITS),
        ),
        (
            "the 99th percentile of their waits is at most 5 ms",
            all(|phase| phase.percentile(0.99) <= P99),
        ),
        (
            "the circuit breaker never opens",
            cache.stats().breaker_openings == 0,
        ),
    ])
}

async fn fill(valkey: &Valkey) -> Outcome {
    let client = redis::Client::open(valkey.url())?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let keys = |prefix: &'static str, count, len| {
        (0..count).map(move |i| (format!("bench:{prefix}:{i}"), vec![b'1'; len]))
    };
    for (key, value) in keys("small", SMALL_KEYS, SMALL).chain(keys("large", LARGE_KEYS, LARGE)) {
        let mut set = redis::cmd("SET");
        set.arg(key).arg(value).arg("EX").arg(3_600);
        let _: () = set.query_async(&mut connection).await?;
    }
    Ok(())
}

/// What was read in a phase.
struct Phase {
    /// The waits of the small reads, the shortest first.
    waits: Vec<Duration>,
    small_hits: usize,
    large: usize,
    large_hits: usize,
}

impl Phase {
    /// Reads small values, and large ones unless `pause` is `None`, with a pause after each.
    async fn run(
        small: &Values,
        large: &Values,
        pause: Option<Duration>,
        time: Duration,
    ) -> Outcome<Self> {
        let is_over = Arc::new(AtomicBool::new(false));
        let mut readers = JoinSet::new();
        for reader in 0..READERS {
            readers.spawn(read_small(small.clone(), reader, Arc::clone(&is_over)));
        }
        let begun = Instant::now();
        let (mut read, mut hits) = (0, 0);
        while begun.elapsed() < time {
            match pause {
                None => sleep(time).await,
                Some(pause) => {
                    let key = read as u64 % LARGE_KEYS;
                    let load = async || Ok(Bytes::new());
                    let value = large
                        .lookup(&key, load)
                        .await
                        .map_err(|_| "a read failed")?;
                    hits += usize::from(value.source == Source::Shared);
                    read += 1;
                    sleep(pause).await;
                }
            }
        }
        is_over.store(true, Ordering::Relaxed);
        let mut phase = Self {
            waits: Vec::new(),
            small_hits: 0,
            large: read,
            large_hits: hits,
        };
        while let Some(reader) = readers.join_next().await {
            let (waits, hits) = reader??;
            phase.waits.extend(waits);
            phase.small_hits += hits;
        }
        phase.waits.sort();
        Ok(phase)
    }

    /// The share of the small reads that Valkey served.
    fn share(&self) -> f64 {
        self.small_hits as f64 / self.waits.len().max(1) as f64
    }

    fn percentile(&self, share: f64) -> Duration {
        let index = (self.waits.len() as f64 * share) as usize;
        let wait = self.waits.get(index).or(self.waits.last());
        wait.copied().unwrap_or(Duration::MAX)
    }

    fn row(&self, time: Duration) -> String {
        let ms = |share| milliseconds(self.percentile(share));
        format!(
            "{:.0} | {:.2} % | {:.2} | {:.2} | {:.1} | {:.1} | {} of {} |",
            self.waits.len() as f64 / time.as_secs_f64(),
            100.0 * self.share(),
            ms(0.5),
            ms(0.99),
            ms(1.0),
            self.large as f64 / time.as_secs_f64(),
            self.large_hits,
            self.large,
        )
    }
}

/// Reads small values until it is over. Returns the waits and the number of hits.
async fn read_small(
    values: Values,
    mut key: u64,
    is_over: Arc<AtomicBool>,
) -> Result<(Vec<Duration>, usize), &'static str> {
    let (mut waits, mut hits) = (Vec::new(), 0);
    while !is_over.load(Ordering::Relaxed) {
        key = (key + READERS) % SMALL_KEYS;
        let begun = Instant::now();
        let load = async || Ok(Bytes::new());
        let value = values
            .lookup(&key, load)
            .await
            .map_err(|_| "a read failed")?;
        waits.push(begun.elapsed());
        hits += usize::from(value.source == Source::Shared);
        sleep(PAUSE).await;
    }
    Ok((waits, hits))
}
