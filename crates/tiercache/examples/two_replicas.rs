//! Two replicas of a service and a foreign writer share a Valkey.
//!
//! `cargo run --example two_replicas redis://127.0.0.1:6379`

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tiercache::{Cache, CommitWith, Json, Namespace};

type Stock = Namespace<str, u64, io::Error>;

/// The database: the stock of one article.
#[derive(Clone, Default)]
struct Database(Arc<AtomicU64>);

impl Database {
    fn read(&self) -> io::Result<u64> {
        Ok(self.0.load(Ordering::SeqCst))
    }
}

fn replica(url: &str) -> Result<(Cache, Stock), tiercache::ConfigError> {
    let cache = Cache::builder(url).memory(1 << 20).connect()?;
    let stock = cache
        .namespace("example:stock:", Json)
        .ttl(Duration::from_secs(60))
        .build()?;
    Ok((cache, stock))
}

/// Polls until this replica sees the value; a push takes less than a second.
async fn wait_for(stock: &Stock, database: &Database, expected: u64) -> Result<(), Box<dyn Error>> {
    let seen = async {
        loop {
            let database = database.clone();
            if stock.get("pears", async move || database.read()).await? == expected {
                return Ok::<_, tiercache::Failure<Arc<io::Error>>>(());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), seen)
        .await?
        .map_err(|failed| failed.to_string().into())
}

/// Runs the example, on a Valkey at this URL.
pub(crate) async fn run(url: &str) -> Result<(), Box<dyn Error>> {
    let database = Database::default();
    let ((ours, our_stock), (theirs, their_stock)) = (replica(url)?, replica(url)?);
    for cache in [&ours, &theirs] {
        cache.wait_for_shared_level(true).await;
        cache.wait_for_tracking().await;
    }
    for stock in [&our_stock, &their_stock] {
        wait_for(stock, &database, 0).await?;
    }

    // A write on one replica is visible on the other as soon as Valkey's push has arrived.
    let (key, row) = (our_stock.key("pears"), database.clone());
    ours.write(async move |write| {
        let commit = CommitWith(async move || {
            row.0.store(7, Ordering::SeqCst);
            Ok::<_, io::Error>(())
        });
        write.fence(commit, [key]).await.commit().await
    })
    .await?;
    wait_for(&their_stock, &database, 7).await?;

    // A foreign writer changes the row and deletes the key.
    database.0.store(9, Ordering::SeqCst);
    let mut foreign = redis::Client::open(url)?
        .get_multiplexed_async_connection()
        .await?;
    let key = our_stock.key("pears");
    let () = redis::cmd("DEL")
        .arg(key.as_str())
        .query_async(&mut foreign)
        .await?;
    for stock in [&our_stock, &their_stock] {
        wait_for(stock, &database, 9).await?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1);
    run(url.as_deref().unwrap_or("redis://127.0.0.1:6379")).await
}
