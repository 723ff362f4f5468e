//! Slots that move between primaries while their keys are read and written through two servers.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use devstack::{Stack, ValkeyCluster, tokens};
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::super::client::{Connection, Response};
use super::super::start;
use crate::Outcome;

/// The rows that are read and written.
const ROWS: usize = 8;
/// The readers of each server.
const READERS: usize = 4;
const SLOTS: usize = 3;
/// The pause of the writer, which writes the rows in turn.
const WRITE_PAUSE: Duration = Duration::from_millis(5);
/// The time before, between and after the moves.
const PAUSE: Duration = Duration::from_secs(2);
/// The longest time until a write through one server is visible in the memory of the other.
const MEMORY_LAG: Duration = Duration::from_secs(1);

/// What happened while slots moved.
#[derive(Default)]
pub(super) struct Moved {
    pub(super) slots: usize,
    /// Requests without the status 200.
    pub(super) failed: u64,
    /// Responses older than is promised.
    pub(super) stale: u64,
    /// Hits in Valkey after the last move.
    pub(super) hits_at_the_end: u64,
}

/// A row, and the versions whose writes have returned.
struct Row {
    path: String,
    key: String,
    written: Mutex<Vec<(Instant, u64)>>,
}

/// What readers of a server count.
#[derive(Default)]
struct Counts {
    reads: AtomicU64,
    failed: AtomicU64,
    stale: AtomicU64,
    memory: AtomicU64,
    valkey: AtomicU64,
}

struct Shared {
    rows: Vec<Row>,
    is_over: AtomicBool,
    writes: AtomicU64,
    failed_writes: AtomicU64,
}

impl Row {
    /// The newest version that had to be visible at a time.
    fn newest(&self, at: Option<Instant>) -> u64 {
        let written = self.written.lock();
        let before = written
            .iter()
            .rev()
            .find(|(returned, _)| Some(*returned) <= at);
        before.map_or(0, |(_, version)| *version)
    }
}

pub(super) async fn run(
    server: &Path,
    stack: &Stack,
    cluster: &ValkeyCluster,
    instruments: &[String],
) -> Outcome<Moved> {
    let url = ("VALKEY_URL", cluster.url());
    let bare = start(
        server,
        stack,
        &[url.clone(), ("CACHE_LOCAL", "off".to_owned())],
    )
    .await?;
    let full = start(server, stack, &[url]).await?;
    let row = |instrument: &String| Row {
        path: format!("/live-data/{instrument}/script"),
        key: format!("fia_api:live_data:script:{instrument}"),
        written: Mutex::default(),
    };
    let shared = Arc::new(Shared {
        rows: instruments.iter().take(ROWS).map(row).collect(),
        is_over: AtomicBool::new(false),
        writes: AtomicU64::new(0),
        failed_writes: AtomicU64::new(0),
    });
    let counts = [Arc::<Counts>::default(), Arc::default()];
    let mut tasks = JoinSet::new();
    // Each row has a version before it is read.
    write_all(&mut open(full.addr()).await?, &shared, 1).await?;
    tasks.spawn(write(full.addr(), Arc::clone(&shared)));
    for i in 0..READERS {
        for (address, lag, counts) in [
            (bare.addr(), Duration::ZERO, &counts[0]),
            (full.addr(), MEMORY_LAG, &counts[1]),
        ] {
            let (shared, counts) = (Arc::clone(&shared), Arc::clone(counts));
            tasks.spawn(read(address, lag, i, shared, counts));
        }
    }
    let mut moved = Moved::default();
    sleep(PAUSE).await;
    for row in shared.rows.iter().take(SLOTS) {
        let slot = cluster.slot_of(&row.key).await?;
        let from = cluster.owner_of(slot).await?;
        let to = (from + 1) % 3;
        cluster.move_slot(slot, from, to).await?;
        sleep(PAUSE).await;
        moved.slots += usize::from(cluster.owner_of(slot).await? == to);
    }
    let before = counts[0].valkey.load(Ordering::Relaxed);
    sleep(PAUSE).await;
    moved.hits_at_the_end = counts[0].valkey.load(Ordering::Relaxed) - before;
    shared.is_over.store(true, Ordering::Relaxed);
    while let Some(task) = tasks.join_next().await {
        task??;
    }
    report(&shared, &counts, &mut moved);
    Ok(moved)
}

/// Prints the counts, and adds them up.
fn report(shared: &Shared, counts: &[Arc<Counts>; 2], moved: &mut Moved) {
    let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
    println!(
        "{SLOTS} slots move while {ROWS} rows are read by {READERS} clients of each server, and written by one: {} writes, {} without status 200\n",
        of(&shared.writes),
        of(&shared.failed_writes)
    );
    println!("| server | reads | not 200 | stale | from memory | from Valkey |");
    println!("|---|---|---|---|---|---|");
    moved.failed = of(&shared.failed_writes);
    for (name, counts) in [("without memory", &counts[0]), ("with memory", &counts[1])] {
        let [reads, failed, stale, memory, valkey] = [
            &counts.reads,
            &counts.failed,
            &counts.stale,
            &counts.memory,
            &counts.valkey,
        ]
        .map(of);
        println!("| {name} | {reads} | {failed} | {stale} | {memory} | {valkey} |");
        moved.failed += failed;
        moved.stale += stale;
    }
    println!();
}

async fn open(address: SocketAddr) -> Outcome<Connection> {
    Ok(Connection::open(address, &format!("Bearer {}", tokens::API_KEY)).await?)
}

/// Writes a version of every row.
async fn write_all(connection: &mut Connection, shared: &Shared, version: u64) -> Outcome {
    for row in &shared.rows {
        let json = format!(r#"{{"value": "{version}"}}"#);
        let status = connection.put(&row.path, &json).await?.status;
        shared.writes.fetch_add(1, Ordering::Relaxed);
        match status {
            200 => row.written.lock().push((Instant::now(), version)),
            _ => {
                shared.failed_writes.fetch_add(1, Ordering::Relaxed);
            }
        }
        sleep(WRITE_PAUSE).await;
    }
    Ok(())
}

async fn write(address: SocketAddr, shared: Arc<Shared>) -> Result<(), String> {
    let mut connection = open(address).await.map_err(|error| error.to_string())?;
    for version in 2.. {
        if shared.is_over.load(Ordering::Relaxed) {
            break;
        }
        let written = write_all(&mut connection, &shared, version).await;
        written.map_err(|error| error.to_string())?;
    }
    Ok(())
}

async fn read(
    address: SocketAddr,
    lag: Duration,
    first: usize,
    shared: Arc<Shared>,
    counts: Arc<Counts>,
) -> Result<(), String> {
    let mut connection = open(address).await.map_err(|error| error.to_string())?;
    let mut rows = shared.rows.iter().cycle().skip(first);
    while let Some(row) = rows
        .next()
        .filter(|_| !shared.is_over.load(Ordering::Relaxed))
    {
        let newest = row.newest(Instant::now().checked_sub(lag));
        let response = connection.get(&row.path).await;
        counts.add(&response.map_err(|error| error.to_string())?, newest);
    }
    Ok(())
}

impl Counts {
    fn add(&self, response: &Response, newest: u64) {
        let add = |count: &AtomicU64| count.fetch_add(1, Ordering::Relaxed);
        add(&self.reads);
        if response.status != 200 {
            add(&self.failed);
            return;
        }
        let text = std::str::from_utf8(&response.body).unwrap_or_default();
        let version: Option<u64> = text.trim_matches('"').parse().ok();
        if version.is_none_or(|version| version < newest) {
            add(&self.stale);
        }
        let source = response.header("cache-status").unwrap_or_default();
        if source.contains("detail=local") {
            add(&self.memory);
        } else if source.contains("detail=shared") {
            add(&self.valkey);
        }
    }
}
