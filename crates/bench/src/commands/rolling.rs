//! A rolling restart behind a proxy that learns of endpoints late: no request fails.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use devstack::{Api, Stack};
use parking_lot::Mutex;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

use super::client::Connection;
use super::new_jobs::bearer;
use super::{start, verdict};
use crate::Outcome;

const REPLICAS: usize = 2;
/// The time until the proxy learns that an endpoint was added or removed.
const LAG: Duration = Duration::from_secs(5);
/// `FIA_API_SHUTDOWN_DELAY`: the lag, and a margin.
const SHUTDOWN_DELAY: u64 = 7;
const CLIENTS: u32 = 20;
const PATH: &str = "/instrument/MARI/specification";

pub(super) async fn run(server: &Path, requests: u64, rate: u32) -> Outcome {
    let stack = Stack::builder().postgres().valkey().start().await?;
    let replica = async || {
        let delay = ("FIA_API_SHUTDOWN_DELAY", SHUTDOWN_DELAY.to_string());
        start(server, &stack, &[delay]).await
    };
    let mut replicas = Vec::new();
    for _ in 0..REPLICAS {
        replicas.push(replica().await?);
    }
    let endpoints = Arc::new(Endpoints::default());
    endpoints.set(replicas.iter().map(Api::addr).collect());
    let proxy = Proxy::start(Arc::clone(&endpoints)).await?;
    let load = Load::start(proxy, requests, rate);
    let begun = Instant::now();
    let mut restarts = 0;
    while !load.is_done() {
        for old in &mut replicas {
            let new = replica().await?;
            endpoints.replace_late(old.addr(), new.addr());
            let old = std::mem::replace(old, new);
            old.stop().await?;
            restarts += 1;
        }
    }
    let took = begun.elapsed().as_secs_f64();
    let failures = load.failures().await?;
    println!("| requests | requests/s | restarts of a replica | failed |\n|---|---|---|---|");
    println!(
        "| {requests} | {:.0} | {restarts} | {} |",
        requests as f64 / took,
        failures.len()
    );
    for failure in failures.iter().take(5) {
        println!("failed: {failure}");
    }
    verdict(&[("no request fails", failures.is_empty())])
}

/// The endpoints that the proxy knows.
#[derive(Default)]
struct Endpoints {
    known: Mutex<Vec<SocketAddr>>,
    next: AtomicUsize,
}

impl Endpoints {
    fn set(&self, endpoints: Vec<SocketAddr>) {
        *self.known.lock() = endpoints;
    }

    /// Replaces an endpoint once the lag is over.
    fn replace_late(self: &Arc<Self>, old: SocketAddr, new: SocketAddr) {
        let endpoints = Arc::clone(self);
        tokio::spawn(async move {
            sleep(LAG).await;
            let mut known = endpoints.known.lock();
            known.retain(|endpoint| *endpoint != old);
            known.push(new);
        });
    }

    /// The endpoints by turns.
    fn next(&self) -> Option<SocketAddr> {
        let known = self.known.lock();
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        known.get(next % known.len().max(1)).copied()
    }
}

/// Forwards each connection to one endpoint, without retries.
struct Proxy;

impl Proxy {
    async fn start(endpoints: Arc<Endpoints>) -> Outcome<SocketAddr> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client, endpoints.next()));
            }
        });
        Ok(address)
    }
}

async fn forward(mut client: TcpStream, endpoint: Option<SocketAddr>) {
    // A refused connection or a reset is the client's failure.
    if let Some(endpoint) = endpoint
        && let Ok(mut server) = TcpStream::connect(endpoint).await
    {
        let _ = copy_bidirectional(&mut client, &mut server).await;
    }
}

/// Clients that send requests at a fixed rate. Half of them keep their connections.
struct Load {
    clients: JoinSet<Vec<String>>,
    left: Arc<AtomicU64>,
}

impl Load {
    fn start(proxy: SocketAddr, requests: u64, rate: u32) -> Self {
        let left = Arc::new(AtomicU64::new(requests));
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let left = Arc::clone(&left);
            clients.spawn(async move {
                let mut ticks = interval(Duration::from_secs(1) * CLIENTS / rate);
                let mut kept = None;
                let mut failures = Vec::new();
                let take = |left: u64| left.checked_sub(1);
                while left
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
                    .is_ok()
                {
                    ticks.tick().await;
                    if let Err(failure) = request(proxy, &mut kept).await {
                        kept = None;
                        failures.push(failure);
                    }
                    if number % 2 == 0 {
                        kept = None;
                    }
                }
                failures
            });
        }
        Self { clients, left }
    }

    fn is_done(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0
    }

    async fn failures(mut self) -> Outcome<Vec<String>> {
        let mut failures = Vec::new();
        while let Some(client) = self.clients.join_next().await {
            failures.extend(client?);
        }
        Ok(failures)
    }
}

/// Sends a request, and closes the connection if the response demands it.
async fn request(proxy: SocketAddr, kept: &mut Option<Connection>) -> Result<(), String> {
    let failed = |error: std::io::Error| error.to_string();
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => Connection::open(proxy, &bearer()).await.map_err(failed)?,
    };
    let response = connection.get(PATH).await.map_err(failed)?;
    if response.header("connection") != Some("close") {
        *kept = Some(connection);
    }
    match response.status {
        200 => Ok(()),
        status => Err(format!("status {status}")),
    }
}
