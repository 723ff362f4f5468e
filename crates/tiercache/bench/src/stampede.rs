//! A thousand concurrent reads of one missing key, half of them on each of two replicas.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::Result;
use crate::replicas::amalgam::Amalgam;
use crate::replicas::by_hand::ByHand;
use crate::replicas::cache_aio::CacheAio;
use crate::replicas::tiercache::Ours;
use crate::replicas::{Load, Replica};

const READS: usize = 1_000;
/// The duration of a load.
const LOAD: Duration = Duration::from_millis(20);

pub async fn run(url: &str) -> Result<()> {
    println!("\n{READS} reads of one missing key on two replicas; a load takes 20 ms\n");
    println!("| cache | loads | until all have the value |\n|---|---|---|");
    report("tiercache", [Ours::new(url).await?, Ours::new(url).await?]).await;
    let amalgam = [
        Amalgam::new(url, "e", true).await?,
        Amalgam::new(url, "f", true).await?,
    ];
    report("amalgam-cache with its backplane", amalgam).await;
    let by_hand = [ByHand::new(url).await?, ByHand::new(url).await?];
    report("moka and redis-rs by hand", by_hand).await;
    let cache_aio = [CacheAio::new(url).await?, CacheAio::new(url).await?];
    report("redis-rs `cache-aio`", cache_aio).await;
    Ok(())
}

async fn report<R: Replica>(name: &str, replicas: [R; 2]) {
    let loads = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let reads = (0..READS).map(|i| {
        let (replica, loads) = (replicas[i % 2].clone(), Arc::clone(&loads));
        let load: Load = Box::new(move || {
            Box::pin(async move {
                loads.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(LOAD).await;
                7
            })
        });
        tokio::spawn(async move { replica.read("stampede".to_owned(), load).await })
    });
    for read in join_all(reads).await {
        assert_eq!(read.expect("the read ends"), 7);
    }
    let millis = began.elapsed().as_millis();
    println!(
        "| {name} | {} | {millis} ms |",
        loads.load(Ordering::Relaxed)
    );
}
