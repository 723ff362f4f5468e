//! Many clients on cached reads, and what each answer said of where it came from.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use devstack::tokens;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::client::{Connection, Response};
use crate::Outcome;

/// No answer takes that long; a client that waits longer counts as failed.
const LIMIT: Duration = Duration::from_secs(20);
/// Before a connection is opened again.
const RETRY: Duration = Duration::from_millis(10);

/// What `Cache-Status` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// From the server's memory.
    Local,
    /// From Valkey.
    Shared,
    /// From PostgreSQL.
    Loaded,
    /// Beyond its time to live, as PostgreSQL is away.
    Stale,
    /// It says none of these.
    Unsaid,
}

impl Source {
    fn of(answer: &Response) -> Self {
        let said = answer.header("cache-status").unwrap_or_default();
        let known = [
            ("detail=stale", Self::Stale),
            ("detail=local", Self::Local),
            ("detail=shared", Self::Shared),
            ("fwd=", Self::Loaded),
        ];
        let found = known.into_iter().find(|(part, _)| said.contains(part));
        found.map_or(Self::Unsaid, |(_, source)| source)
    }
}

/// One answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    /// When it was asked for.
    pub(super) asked: Instant,
    pub(super) took: Duration,
    /// The place of its path in the list.
    pub(super) path: usize,
    /// 0 where there was none.
    pub(super) status: u16,
    pub(super) source: Source,
    /// What `Age` says, in seconds.
    pub(super) age: Option<u64>,
    /// The body, where it is a number as a JSON text.
    pub(super) number: Option<u64>,
}

impl Sample {
    fn of(asked: Instant, path: usize, answer: Option<&Response>) -> Self {
        let number = |answer: &Response| {
            let text = std::str::from_utf8(&answer.body).ok()?;
            text.trim_matches('"').parse().ok()
        };
        Self {
            asked,
            took: asked.elapsed(),
            path,
            status: answer.map_or(0, |answer| answer.status),
            source: answer.map_or(Source::Unsaid, Source::of),
            age: answer.and_then(|answer| answer.header("age")?.parse().ok()),
            number: answer.and_then(number),
        }
    }
}

/// Clients that ask until they are told to end.
pub(super) struct Load {
    clients: JoinSet<Vec<Sample>>,
    ended: Arc<AtomicBool>,
}

impl Load {
    /// Each client goes round the paths, from a place of its own, and pauses after each answer.
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
        let bearer = format!("Bearer {}", tokens::API_KEY);
        for i in 0..clients {
            let mut connection = Connection::open(address, &bearer).await?;
            let (ended, bearer) = (Arc::clone(&load.ended), bearer.clone());
            load.clients.spawn(async move {
                let mut samples = Vec::new();
                for path in (0..paths.len()).cycle().skip(i) {
                    if ended.load(Ordering::Relaxed) {
                        break;
                    }
                    let asked = Instant::now();
                    let answer = timeout(LIMIT, connection.get(paths[path])).await;
                    let answer = answer.ok().and_then(Result::ok);
                    samples.push(Sample::of(asked, path, answer.as_ref()));
                    if answer.is_none() {
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

    /// Ends them; all answers, in the order in which they were asked for.
    pub(super) async fn end(mut self) -> Outcome<Vec<Sample>> {
        self.ended.store(true, Ordering::Relaxed);
        let mut samples = Vec::new();
        while let Some(client) = self.clients.join_next().await {
            samples.extend(client?);
        }
        samples.sort_by_key(|sample| sample.asked);
        Ok(samples)
    }
}

/// The slowest of some answers, in milliseconds.
pub(super) fn slowest_ms<'a>(samples: impl Iterator<Item = &'a Sample>) -> f64 {
    let slowest = samples.map(|sample| sample.took).max();
    slowest.unwrap_or_default().as_secs_f64() * 1e3
}
