//! The age of lists and counts beside many writes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use devstack::Api;
use rand::RngExt as _;
use tokio::task::JoinSet;

use super::Fixture;
use super::jobs::{Jobs, Lack};
use super::writers::{Writer, addresses};
use crate::Outcome;
use crate::commands::client::Connection;
use crate::commands::milliseconds;
use crate::commands::new_jobs::bearer;

const WRITERS: usize = 4;
/// The readers of each server.
const READERS: usize = 4;
/// The longest lag that the service states, with the tolerance of the consistency checker.
const BOUND: Duration = Duration::from_millis(1_300);
const PUSH: Duration = Duration::from_millis(50);

/// What the readers saw.
#[derive(Default)]
struct Seen {
    reads: u64,
    older_than_own_write: u64,
    lags: Vec<Duration>,
}

/// Writes through both servers, then by SQL with the change feed.
pub(super) async fn run(fixture: &Fixture<'_>, writes: u64) -> Outcome<Vec<(&'static str, bool)>> {
    let feed = fixture.feed()?;
    let replicas = [
        fixture.replica(std::slice::from_ref(&feed)).await?,
        fixture.replica(&[feed]).await?,
    ];
    println!(
        "{writes} writes by {WRITERS} writers beside {} readers of 100 lists and counts\n",
        2 * READERS
    );
    println!(
        "| writes | writes/s | reads | older than a write on the same server | reads that lack another's write | lag p50 ms | p99 ms | max ms |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let api = measure(fixture, &replicas, writes, false).await?;
    let sql = measure(fixture, &replicas, writes, true).await?;
    Ok(vec![
        (
            "no read is older than a write that returned on its server",
            api.older_than_own_write == 0,
        ),
        (
            "reads on the other server lag by at most 50 ms (p99 of those that do)",
            percentile(&api.lags, 0.99) <= PUSH,
        ),
        (
            "no read lags by more than 1.3 s",
            api.lags.last().is_none_or(|lag| *lag <= BOUND),
        ),
        (
            "nor behind writes by SQL, with the change feed",
            sql.lags.last().is_none_or(|lag| *lag <= BOUND),
        ),
    ])
}

async fn measure(
    fixture: &Fixture<'_>,
    replicas: &[Api],
    writes: u64,
    by_sql: bool,
) -> Outcome<Seen> {
    let jobs = Arc::new(fixture.jobs().await?);
    let left = Arc::new(AtomicU64::new(writes));
    // What the servers have cached of the jobs before shows other numbers.
    let valkey = fixture.stack.valkey().ok_or("no Valkey")?;
    let mut redis = redis::Client::open(valkey.url())?
        .get_multiplexed_async_connection()
        .await?;
    redis::cmd("FLUSHALL").query_async::<()>(&mut redis).await?;
    let begun = Instant::now();
    let mut writers = JoinSet::new();
    for part in 0..WRITERS {
        let writer = Writer::new(&jobs, (part, WRITERS), &left);
        if by_sql {
            let client = fixture.database().await?;
            writers.spawn(async move {
                writer
                    .by_sql(client)
                    .await
                    .map_err(|error| error.to_string())
            });
        } else {
            let replicas = addresses(replicas);
            writers.spawn(async move {
                writer
                    .through(replicas)
                    .await
                    .map_err(|error| error.to_string())
            });
        }
    }
    let mut readers = JoinSet::new();
    for (server, address) in addresses(replicas).into_iter().enumerate() {
        for _ in 0..READERS {
            let reading = read((server, address), Arc::clone(&jobs), Arc::clone(&left));
            readers.spawn(async move { reading.await.map_err(|error| error.to_string()) });
        }
    }
    while let Some(writer) = writers.join_next().await {
        writer??;
    }
    let took = begun.elapsed();
    let mut seen = Seen::default();
    while let Some(reader) = readers.join_next().await {
        let reader = reader??;
        seen.reads += reader.reads;
        seen.older_than_own_write += reader.older_than_own_write;
        seen.lags.extend(reader.lags);
    }
    seen.lags.sort();
    println!(
        "| {} | {:.0} | {} | {} | {} | {:.1} | {:.1} | {:.1} |",
        if by_sql {
            "by SQL"
        } else {
            "through both servers"
        },
        writes as f64 / took.as_secs_f64(),
        seen.reads,
        seen.older_than_own_write,
        seen.lags.len(),
        milliseconds(percentile(&seen.lags, 0.5)),
        milliseconds(percentile(&seen.lags, 0.99)),
        milliseconds(seen.lags.last().copied().unwrap_or_default()),
    );
    Ok(seen)
}

/// Reads random lists and counts until the last write.
async fn read(
    (server, address): (usize, SocketAddr),
    jobs: Arc<Jobs>,
    left: Arc<AtomicU64>,
) -> Outcome<Seen> {
    let mut connection = Connection::open(address, &bearer()).await?;
    let mut seen = Seen::default();
    while left.load(Ordering::Relaxed) > 0 {
        let job = rand::rng().random_range(0..jobs.0.len());
        let list = rand::rng().random_range(0..Jobs::LISTS);
        let path = jobs.path(job, list);
        let sent = Instant::now();
        let response = connection.get(&path).await?;
        if response.status != 200 {
            return Err(format!("{path}: {}", response.status).into());
        }
        seen.reads += 1;
        match jobs.check((job, list), &response.body, (server, sent))? {
            Lack::Nothing => {}
            Lack::OwnWrite => seen.older_than_own_write += 1,
            Lack::OtherWrite(lag) => seen.lags.push(lag),
        }
    }
    Ok(seen)
}

fn percentile(sorted: &[Duration], share: f64) -> Duration {
    let index = (sorted.len() as f64 * share) as usize;
    sorted.get(index).copied().unwrap_or_default()
}
