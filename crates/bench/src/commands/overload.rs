//! Uncached lists at a multiple of the rate that the server can serve: what is admitted is served,
//! and the rest is refused at once.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use devstack::{Api, Postgres, Stack, add_jobs};
use parking_lot::Mutex;
use rand::RngExt as _;
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};

use super::client::Connection;
use super::new_jobs::bearer;
use super::probe::{ProbeReport, Probes};
use super::server::database_settings;
use super::{milliseconds, start, verdict};
use crate::Outcome;

/// The jobs in the database.
const JOBS: u32 = 20_000;
/// The clients of the closed loop that measures the peak.
const CLIENTS: usize = 24;
/// The duration of each phase.
const PHASE: Duration = Duration::from_secs(8);
/// The multiples of the peak.
const MULTIPLES: [f64; 3] = [1.5, 3.0, 10.0];
/// The time limit of a request: what comes later is of no use.
const LIMIT: Duration = Duration::from_secs(10);
/// The least rate of served requests, relative to the peak.
const GOODPUT: f64 = 0.9;
/// The median time until a refusal.
const MAX_REFUSAL: Duration = Duration::from_millis(20);
/// The time after which requests have to be served as before.
const RECOVERY: Duration = Duration::from_secs(1);
/// The rate after the overload, in requests a second.
const AFTER_RATE: f64 = 50.0;
/// The duration of the phase after the overload.
const AFTER_PHASE: Duration = Duration::from_secs(2);

pub(super) async fn run(server: &Path) -> Outcome {
    let postgres = Postgres::start().await?;
    add_jobs(&postgres, "fia", JOBS).await?;
    let stack = Stack::builder().upstreams().start().await?;
    println!("GET /jobs?limit=25&include_run=true with random offsets, uncached, {JOBS} jobs\n");
    println!(
        "| pool | peak/s | offered/s | of the peak | served/s | of the peak | served p99 ms | refused | p50 ms | p99 ms | failed | {} refused later than 1 s after it |",
        ProbeReport::HEAD
    );
    println!(
        "|---|---|---|---|---|---|---|---|---|---|---|{}---|",
        ProbeReport::RULE
    );
    let mut phases = Vec::new();
    for pool in ["16", "4"] {
        let settings = settings(&postgres, pool);
        let api = start(server, &stack, &settings).await?;
        // The machine's speed varies: each phase is compared with the peaks before and after it.
        let mut before = peak(&api).await?;
        for multiple in MULTIPLES {
            let load = Load::run(&api, before * multiple).await?;
            let after = peak(&api).await?;
            phases.push(load.phase(pool, f64::midpoint(before, after)));
            before = after;
        }
    }
    let all = |holds: fn(&Phase) -> bool| phases.iter().all(holds);
    verdict(&[
        (
            "at least 90 % of the peak is served",
            all(|phase| phase.goodput >= GOODPUT),
        ),
        (
            "the median refusal takes at most 20 ms",
            all(|phase| phase.refusal <= MAX_REFUSAL),
        ),
        ("nothing fails otherwise", all(|phase| phase.failed == 0)),
        (
            "the 99th percentile of /healthz is at most 50 ms",
            all(|phase| phase.healthz <= Duration::from_millis(50)),
        ),
        (
            "nothing is refused later than 1 s after it",
            all(|phase| phase.refused_after == 0),
        ),
    ])
}

fn settings(postgres: &Postgres, pool: &str) -> Vec<(&'static str, String)> {
    let mut settings = database_settings(postgres);
    settings.push(("DB_POOL_SIZE", pool.to_owned()));
    settings.push(("CACHE_LOCAL", "off".to_owned()));
    settings
}

fn path() -> String {
    let offset = rand::rng().random_range(0..JOBS - 25);
    format!("/jobs?limit=25&include_run=true&offset={offset}")
}

/// The rate of a closed loop, in requests per second.
async fn peak(api: &Api) -> Outcome<f64> {
    let mut clients = JoinSet::new();
    let (address, end) = (api.addr(), Instant::now() + PHASE);
    for _ in 0..CLIENTS {
        clients.spawn(async move {
            let mut served = 0_u32;
            let Ok(mut connection) = Connection::open(address, &bearer()).await else {
                return served;
            };
            while Instant::now() < end {
                let response = connection.get(&path()).await;
                served += u32::from(response.is_ok_and(|response| response.status == 200));
            }
            served
        });
    }
    let served: u32 = clients.join_all().await.iter().sum();
    Ok(f64::from(served) / PHASE.as_secs_f64())
}

/// The requests of a phase.
#[derive(Default)]
struct Requests {
    served: Vec<Duration>,
    refused: Vec<Duration>,
    failed: usize,
}

struct Phase {
    goodput: f64,
    refusal: Duration,
    failed: usize,
    healthz: Duration,
    refused_after: usize,
}

/// The requests of an overload, and of the time after it.
struct Load {
    overload: Requests,
    after: Requests,
    probes: ProbeReport,
}

impl Load {
    async fn run(api: &Api, rate: f64) -> Outcome<Self> {
        let probes = Probes::start(api).await?;
        let overload = paced(api.addr(), rate, PHASE).await;
        let probes = probes.end().await?;
        tokio::time::sleep(RECOVERY).await;
        let after = paced(api.addr(), rate.min(AFTER_RATE), AFTER_PHASE).await;
        Ok(Self {
            overload,
            after,
            probes,
        })
    }

    fn phase(self, pool: &str, peak: f64) -> Phase {
        let Self {
            overload,
            after,
            probes,
        } = self;
        let served = overload.served.len() as f64 / PHASE.as_secs_f64();
        let offered = overload.served.len() + overload.refused.len() + overload.failed;
        let offered = offered as f64 / PHASE.as_secs_f64();
        let at = |waits: &[Duration], percent: usize| {
            waits
                .get(waits.len() * percent / 100)
                .copied()
                .unwrap_or_default()
        };
        println!(
            "| {pool} | {peak:.0} | {offered:.0} | {:.1} | {served:.0} | {:.2} | {:.0} | {} | {:.1} | {:.1} | {} | {} {} |",
            offered / peak,
            served / peak,
            milliseconds(at(&overload.served, 99)),
            overload.refused.len(),
            milliseconds(at(&overload.refused, 50)),
            milliseconds(at(&overload.refused, 99)),
            overload.failed,
            probes.row(),
            after.refused.len() + after.failed,
        );
        Phase {
            goodput: served / peak,
            refusal: at(&overload.refused, 50),
            failed: overload.failed,
            healthz: probes.p99(),
            refused_after: after.refused.len() + after.failed,
        }
    }
}

/// Sends requests at a rate, whatever becomes of them, over connections that are reused.
async fn paced(address: SocketAddr, rate: f64, duration: Duration) -> Requests {
    let idle: Arc<Mutex<Vec<Connection>>> = Arc::default();
    let requests: Arc<Mutex<Requests>> = Arc::default();
    let mut sending = JoinSet::new();
    let begun = tokio::time::Instant::now();
    let mut number = 0.0;
    while begun.elapsed() < duration {
        sleep_until(begun + Duration::from_secs_f64(number / rate)).await;
        number += 1.0;
        let (idle, requests) = (Arc::clone(&idle), Arc::clone(&requests));
        sending.spawn(async move {
            let sent = Instant::now();
            let exchange = exchange(address, &idle);
            let status = timeout(LIMIT, exchange).await;
            let took = sent.elapsed();
            let mut requests = requests.lock();
            match status {
                Ok(Ok(200)) => requests.served.push(took),
                Ok(Ok(503)) => requests.refused.push(took),
                _ => requests.failed += 1,
            }
        });
        // Ended tasks.
        while sending.try_join_next().is_some() {}
    }
    sending.join_all().await;
    let mut requests = std::mem::take(&mut *requests.lock());
    requests.served.sort();
    requests.refused.sort();
    requests
}

/// Sends one request; returns its status.
async fn exchange(
    address: SocketAddr,
    idle: &Mutex<Vec<Connection>>,
) -> Result<u16, Box<dyn std::error::Error + Send + Sync>> {
    let reused = idle.lock().pop();
    let mut connection = match reused {
        Some(connection) => connection,
        None => Connection::open(address, &bearer()).await?,
    };
    let response = connection.get(&path()).await?;
    idle.lock().push(connection);
    Ok(response.status)
}
