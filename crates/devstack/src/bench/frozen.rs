//! Valkey frozen under load.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use devstack::{Stack, Valkey, tokens};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::client::Connection;
use super::start;
use crate::Outcome;

const CLIENTS: usize = 32;
const PATHS: [&str; 3] = [
    "/live-data/MARI/script",
    "/instrument/LET/specification",
    "/instrument/TOSCA/latest-run",
];

pub(super) async fn run(server: &Path) -> Outcome {
    let stack = Stack::builder().postgres().valkey().start().await?;
    let valkey = stack.valkey().ok_or("no Valkey")?;
    let api = start(server, &stack, &[]).await?;
    println!(
        "{CLIENTS} clients without a pause, over {} cached reads\n",
        PATHS.len()
    );
    println!("| Valkey | answers | not 200 | slowest ms |");
    println!("|---|---|---|---|");
    report(
        "answers",
        load(api.addr(), sleep(Duration::from_secs(3))).await?,
    );
    valkey.pause()?;
    report(
        "frozen",
        load(api.addr(), sleep(Duration::from_secs(10))).await?,
    );
    valkey.resume()?;
    let resumed = Instant::now();
    let back = async {
        // A poisoned entry is replaced only by a server that uses Valkey again.
        while !uses(valkey).await.unwrap_or(false) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let mut again = None;
    let during = async {
        back.await;
        again = Some(resumed.elapsed());
    };
    report("resumed", load(api.addr(), during).await?);
    let again = again.ok_or("not used again")?;
    println!("\nin use again {:.2} s after SIGCONT", again.as_secs_f64());
    Ok(())
}

/// Whether the server asks Valkey: whether it gets hits there.
async fn uses(valkey: &Valkey) -> Outcome<bool> {
    let before = hits(valkey).await?;
    sleep(Duration::from_millis(20)).await;
    Ok(hits(valkey).await? > before)
}

async fn hits(valkey: &Valkey) -> Outcome<u64> {
    let mut lines = BufReader::new(TcpStream::connect(valkey.addr()).await?);
    lines.write_all(b"INFO stats\r\n").await?;
    let mut line = String::new();
    while lines.read_line(&mut line).await? > 0 {
        if let Some(hits) = line.strip_prefix("keyspace_hits:") {
            return Ok(hits.trim().parse()?);
        }
        line.clear();
    }
    Err("Valkey said no keyspace_hits".into())
}

#[derive(Default)]
struct Seen {
    answers: AtomicU64,
    failed: AtomicU64,
    slowest_us: AtomicU64,
}

fn report(phase: &str, seen: Arc<Seen>) {
    println!(
        "| {phase} | {} | {} | {:.1} |",
        seen.answers.load(Ordering::Relaxed),
        seen.failed.load(Ordering::Relaxed),
        seen.slowest_us.load(Ordering::Relaxed) as f64 / 1e3
    );
}

/// Asks with all clients until `during` has ended.
async fn load(address: SocketAddr, during: impl Future<Output = ()>) -> Outcome<Arc<Seen>> {
    let seen = Arc::new(Seen::default());
    let ended = Arc::new(AtomicBool::new(false));
    let mut clients = tokio::task::JoinSet::new();
    for i in 0..CLIENTS {
        let bearer = format!("Bearer {}", tokens::API_KEY);
        let mut connection = Connection::open(address, &bearer).await?;
        let (seen, ended) = (Arc::clone(&seen), Arc::clone(&ended));
        clients.spawn(async move {
            while !ended.load(Ordering::Relaxed) {
                let start = Instant::now();
                let answer = connection.get(PATHS[i % PATHS.len()]).await;
                let took = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
                seen.slowest_us.fetch_max(took, Ordering::Relaxed);
                seen.answers.fetch_add(1, Ordering::Relaxed);
                if !answer.is_ok_and(|answer| answer.status == 200) {
                    seen.failed.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }
    during.await;
    ended.store(true, Ordering::Relaxed);
    while let Some(client) = clients.join_next().await {
        client?;
    }
    Ok(seen)
}
