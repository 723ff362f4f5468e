//! Forced races: a read is in flight on one replica while another replica writes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::sync::oneshot;

use crate::Result;
use crate::replicas::amalgam::Amalgam;
use crate::replicas::by_hand::ByHand;
use crate::replicas::cache_aio::CacheAio;
use crate::replicas::tiercache::Ours;
use crate::replicas::{Load, Replica, Row};

const RACES: usize = 10_000;
const CONCURRENCY: usize = 32;

/// After the races, time for every message to arrive.
const QUIET: Duration = Duration::from_secs(2);

pub async fn run(url: &str) -> Result<()> {
    println!("\n{RACES} forced races on two replicas: keys that are stale 2 s later\n");
    println!("| cache | stale |\n|---|---|");
    report("tiercache", [Ours::new(url).await?, Ours::new(url).await?]).await;
    let amalgam = [
        Amalgam::new(url, "a", true).await?,
        Amalgam::new(url, "b", true).await?,
    ];
    report("amalgam-cache with its backplane", amalgam).await;
    let amalgam = [
        Amalgam::new(url, "c", false).await?,
        Amalgam::new(url, "d", false).await?,
    ];
    report("amalgam-cache without", amalgam).await;
    let by_hand = [ByHand::new(url).await?, ByHand::new(url).await?];
    report("moka and redis-rs by hand", by_hand).await;
    let cache_aio = [CacheAio::new(url).await?, CacheAio::new(url).await?];
    report("redis-rs `cache-aio`", cache_aio).await;
    Ok(())
}

async fn report<R: Replica>(name: &str, replicas: [R; 2]) {
    let rows: Vec<Row> = (0..RACES).map(|_| Row::default()).collect();
    let races = rows.iter().enumerate();
    let race = |(i, row): (usize, &Row)| {
        let ([reader, writer], row) = (replicas.clone(), row.clone());
        async move { race(reader, writer, format!("{name}:{i}"), row).await }
    };
    stream::iter(races)
        .for_each_concurrent(CONCURRENCY, race)
        .await;
    tokio::time::sleep(QUIET).await;
    let stale = AtomicUsize::new(0);
    let check = |(i, row): (usize, &Row)| {
        let (replicas, row, stale) = (replicas.clone(), row.clone(), &stale);
        async move {
            for replica in replicas {
                let version = replica.read(format!("{name}:{i}"), loader(&row)).await;
                if version != row.select() {
                    stale.fetch_add(1, Ordering::Relaxed);
                    return;
                }
            }
        }
    };
    let races = rows.iter().enumerate();
    stream::iter(races)
        .for_each_concurrent(CONCURRENCY, check)
        .await;
    println!("| {name} | {} |", stale.into_inner());
}

fn loader(row: &Row) -> Load {
    let row = row.clone();
    Box::new(move || Box::pin(async move { row.select() }))
}

/// The reader reads the row, the writer writes, the reader's load returns.
async fn race<R: Replica>(reader: R, writer: R, key: String, row: Row) {
    let (has_read, reads) = oneshot::channel();
    let (open, opened) = oneshot::channel::<()>();
    let (loaded, read_key) = (row.clone(), key.clone());
    let load: Load = Box::new(move || {
        Box::pin(async move {
            let version = loaded.select();
            let _ = has_read.send(());
            let _ = opened.await;
            version
        })
    });
    let read = tokio::spawn(async move { reader.read(read_key, load).await });
    reads.await.expect("the loader is called");
    writer.write(key, row).await;
    let _ = open.send(());
    read.await.expect("the read ends");
}
