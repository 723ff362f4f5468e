//! Concurrent clients of cached reads, and the source of each response.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use devstack::tokens;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::client::{Connection, Response};
use crate::Outcome;

/// The timeout of a request.
const TIMEOUT: Duration = Duration::from_secs(20);
/// The pause before a reconnect.
const RETRY: Duration = Duration::from_millis(10);

/// The source that `Cache-Status` reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The local cache.
    Local,
    /// Valkey.
    Shared,
    /// PostgreSQL.
    Loaded,
    /// An entry past its TTL, because PostgreSQL is unavailable.
    Stale,
    /// None of these.
    Unknown,
}

impl Source {
    fn of(response: &Response) -> Self {
        let status = response.header("cache-status").unwrap_or_default();
        let known = [
            ("detail=stale", Self::Stale),
            ("detail=local", Self::Local),
            ("detail=shared", Self::Shared),
            ("fwd=", Self::Loaded),
        ];
        let found = known.into_iter().find(|(part, _)| status.contains(part));
        found.map_or(Self::Unknown, |(_, source)| source)
    }
}

/// One request and its response.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    /// When the request was sent.
    pub(super) sent: Instant,
    pub(super) took: Duration,
    /// The index of its path.
    pub(super) path: usize,
    /// 0 without a response.
    pub(super) status: u16,
    pub(super) source: Source,
    /// The `Age` header, in seconds.
    pub(super) age: Option<u64>,
    /// The body, if it is a number as a JSON string.
    pub(super) number: Option<u64>,
}

impl Sample {
    fn of(sent: Instant, path: usize, response: Option<&Response>) -> Self {
        let number = |response: &Response| {
            let text = std::str::from_utf8(&response.body).ok()?;
            text.trim_matches('"').parse().ok()
        };
        Self {
            sent,
            took: sent.elapsed(),
            path,
            status: response.map_or(0, |response| response.status),
            source: response.map_or(Source::Unknown, Source::of),
            age: response.and_then(|response| response.header("age")?.parse().ok()),
            number: response.and_then(number),
        }
    }
}

/// Clients in a closed loop until they are ended.
pub(super) struct Load {
    clients: JoinSet<Vec<Sample>>,
    ended: Arc<AtomicBool>,
}

impl Load {
    /// Starts the clients. Each cycles through the paths, from a different one, and pauses after each
    /// response.
    pub(super) async fn start(
        address: SocketAddr,
        paths: &'static [&'static str],
        clients: usize,
        pause: Duration,
    ) -> Outcome<Self> {
        let mut load = Self {
            clients: JoinSet::new(),
            ended: Arc::default(),
        };
        // People are served stale values; callers with the API key are not.
        let bearer = format!("Bearer {}", tokens::staff());
        for i in 0..clients {
            let mut connection = Connection::open(address, &bearer).await?;
            let (ended, bearer) = (Arc::clone(&load.ended), bearer.clone());
            load.clients.spawn(async move {
                let mut samples = Vec::new();
                for path in (0..paths.len()).cycle().skip(i) {
                    if ended.load(Ordering::Relaxed) {
                        break;
                    }
                    let sent = Instant::now();
                    let response = timeout(TIMEOUT, connection.get(paths[path])).await;
                    let response = response.ok().and_then(Result::ok);
                    samples.push(Sample::of(sent, path, response.as_ref()));
                    if response.is_none() {
                        sleep(RETRY).await;
                        if let Ok(opened) = Connection::open(address, &bearer).await {
                            connection = opened;
                        }
                    }
                    if !pause.is_zero() {
                        sleep(pause).await;
                    }
                }
                samples
            });
        }
        Ok(load)
    }

    /// Ends the clients and returns all samples in the order in which the requests were sent.
    pub(super) async fn end(mut self) -> Outcome<Vec<Sample>> {
        self.ended.store(true, Ordering::Relaxed);
        let mut samples = Vec::new();
        while let Some(client) = self.clients.join_next().await {
            samples.extend(client?);
        }
        samples.sort_by_key(|sample| sample.sent);
        Ok(samples)
    }
}

/// The maximum latency of these samples, in milliseconds.
pub(super) fn slowest_ms<'a>(samples: impl Iterator<Item = &'a Sample>) -> f64 {
    let slowest = samples.map(|sample| sample.took).max();
    slowest.unwrap_or_default().as_secs_f64() * 1e3
}
