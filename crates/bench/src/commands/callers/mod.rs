//! The programs that call the server, with their timeouts, retries and orders, while its
//! dependencies fail at random: no run is lost, none is reduced more often than it was sent, and
//! no retry goes on forever.

mod detection;
mod file_watcher;
mod fixture;
mod front_end;
mod job_watcher;
mod judge;
mod live_data;
mod outages;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::Method;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::client::{Connection, Response};
use super::new_jobs::bearer;
use crate::Outcome;
use fixture::Fixture;

/// The time without outages at the end, in which every retry has to succeed.
const QUIET: Duration = Duration::from_secs(60);

pub(super) async fn run(server: &Path, seconds: u64, seed: Option<u64>) -> Outcome {
    let seed = seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    println!("seed {seed}");
    let fixture = Fixture::start(server).await?;
    let run = Arc::new(Run {
        address: fixture.api.addr(),
        end: Instant::now() + Duration::from_secs(seconds),
        ledger: Mutex::default(),
        counts: Counts::default(),
    });
    let (jobs, finished) = mpsc::unbounded_channel();
    let callers = [
        tokio::spawn(detection::run_detection(Arc::clone(&run), jobs)),
        tokio::spawn(job_watcher::watch(Arc::clone(&run), finished)),
        tokio::spawn(file_watcher::watch(Arc::clone(&run))),
        tokio::spawn(live_data::poll(Arc::clone(&run))),
        tokio::spawn(front_end::browse(Arc::clone(&run))),
        tokio::spawn(front_end::submit(Arc::clone(&run))),
    ];
    let outages = outages::inject(&fixture, &run, seed).await?;
    sleep(QUIET).await;
    callers.iter().for_each(tokio::task::JoinHandle::abort);
    judge::judge(&fixture, &run, &outages).await
}

/// What the callers share.
struct Run {
    address: std::net::SocketAddr,
    /// The end of the outages, and of new work.
    end: Instant,
    ledger: Mutex<Ledger>,
    counts: Counts,
}

/// What the callers did, to be compared with the database and the broker.
#[derive(Default)]
struct Ledger {
    /// By run: how it fared.
    runs: Vec<detection::Run>,
    /// Jobs whose update was not accepted yet, by id, and the accepted ones with their final state.
    updates: Vec<job_watcher::Update>,
    /// Ids of jobs that were accepted from people.
    submitted: Vec<i64>,
}

/// Numbers of events, for the table.
#[derive(Default)]
struct Counts {
    specification_failures: AtomicU64,
    file_watcher_restarts: AtomicU64,
    files_published: AtomicU64,
    /// Files that were published again for want of a stored latest run.
    files_published_again: AtomicU64,
    /// Files that were published again although their `PUT` had been accepted.
    files_published_again_by_stale_reads: AtomicU64,
    update_retries: AtomicU64,
    script_polls: AtomicU64,
    script_failures: AtomicU64,
    pages: AtomicU64,
    page_failures: AtomicU64,
    /// A second 403 in a row, after which the front end would refresh its token forever.
    refresh_loops: AtomicU64,
    submit_failures: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Run {
    fn is_busy(&self) -> bool {
        Instant::now() < self.end
    }

    /// Sends a request with the API key on a new connection; `None` without a response in time.
    async fn send(
        &self,
        method: Method,
        path: &str,
        body: &str,
        limit: Duration,
    ) -> Option<Response> {
        self.send_as(&bearer(), method, path, body, limit).await
    }

    async fn send_as(
        &self,
        authorization: &str,
        method: Method,
        path: &str,
        body: &str,
        limit: Duration,
    ) -> Option<Response> {
        let exchange = async {
            let mut connection = Connection::open(self.address, authorization).await?;
            let headers = [("content-type", "application/json")];
            connection.send(method, path, &headers, body).await
        };
        timeout(limit, exchange).await.ok()?.ok()
    }
}
