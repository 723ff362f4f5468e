//! A probe of PostgreSQL in the background: whether the database was reached a moment ago.
//!
//! It has a connection of its own, so that a busy pool does not look like an outage.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::config;
use crate::observe::{Health, HealthSnapshot};
use crate::store::StoreError;
use crate::store::connect::Connector;
use crate::store::session::Session;

/// The interval between two statements, from one's sending to the next one's.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long the database counts as reachable after a statement that was answered was sent.
const MAX_AGE: Duration = Duration::from_secs(2);
/// The statement.
const STATEMENT: &str = "SELECT 1";

/// Whether PostgreSQL is known to be reachable. Cheap to clone; the probe ends with the last
/// clone.
#[derive(Clone)]
pub struct Reachability(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    probe: AbortHandle,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.probe.abort();
    }
}

/// The findings of the probe.
struct Shared {
    /// Read on the path of local cache hits.
    is_reachable: AtomicBool,
    probes: AtomicU64,
    failures: AtomicU64,
    /// The outcome of the last probe.
    health: Health,
    /// The last statement that was answered before it was too old.
    reply: watch::Sender<Option<Reply>>,
}

/// A statement that was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// When it was sent.
    pub sent: Instant,
    /// The same as a time of day.
    pub at: SystemTime,
}

/// The state of the probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReachabilityStats {
    /// Whether the database was reached within the last 2 s.
    pub is_reachable: bool,
    /// The probes so far.
    pub probes: u64,
    /// The probes without a reply in time.
    pub failures: u64,
}

impl Reachability {
    /// Starts the probe; does not wait for the server. Until the first reply the database counts
    /// as unreachable. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// When TLS cannot be configured.
    pub fn start(config: &config::Database) -> Result<Self, StoreError> {
        let connector = Connector::new(config)?;
        let shared = Arc::new(Shared {
            is_reachable: AtomicBool::new(false),
            probes: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            health: Health::default(),
            reply: watch::Sender::new(None),
        });
        let findings = Arc::clone(&shared);
        let probing = tokio::spawn(async move {
            tokio::join!(probe(&connector, &findings), expire(&findings));
        });
        Ok(Self(Arc::new(Inner {
            shared,
            probe: probing.abort_handle(),
        })))
    }

    /// Whether the database was reached within the last 2 s, counted from the sending of a
    /// statement that was answered. Costs one atomic load.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        self.0.shared.is_reachable.load(Ordering::Relaxed)
    }

    /// The outcome of the last probe, since when it is that, and the last failure.
    #[must_use]
    pub fn health(&self) -> HealthSnapshot {
        self.0.shared.health.snapshot()
    }

    /// The last statement that was answered in time; `None` before the first one.
    #[must_use]
    pub fn last_reply(&self) -> Option<Reply> {
        *self.0.shared.reply.borrow()
    }

    /// Waits until the database is reachable.
    pub async fn wait_until_reachable(&self) {
        let mut reply = self.0.shared.reply.subscribe();
        // Fails only if the sender is dropped, which `self` holds.
        while !self.is_reachable() && reply.changed().await.is_ok() {}
    }

    /// The current state.
    #[must_use]
    pub fn stats(&self) -> ReachabilityStats {
        let shared = &self.0.shared;
        ReachabilityStats {
            is_reachable: self.is_reachable(),
            probes: shared.probes.load(Ordering::Relaxed),
            failures: shared.failures.load(Ordering::Relaxed),
        }
    }
}

/// Sends a statement each second; reconnects after a failure.
async fn probe(connector: &Connector, shared: &Shared) {
    let mut connection = None;
    let mut is_first_failure = true;
    loop {
        let (sent, at) = (Instant::now(), SystemTime::now());
        shared.probes.fetch_add(1, Ordering::Relaxed);
        match reach(connector, &mut connection).await {
            Ok(()) => {
                is_first_failure = true;
                shared.record_reply(Reply { sent, at });
            }
            Err(error) => {
                connection = None;
                shared.failures.fetch_add(1, Ordering::Relaxed);
                shared.health.failed(&error);
                // Once, and not each second.
                if std::mem::replace(&mut is_first_failure, false) {
                    tracing::warn!(%error, "PostgreSQL probe failed");
                } else {
                    tracing::debug!(%error, "PostgreSQL probe failed again");
                }
            }
        }
        sleep_until(sent + INTERVAL).await;
    }
}

/// Sends the statement, on a new connection if there is none.
async fn reach(connector: &Connector, connection: &mut Option<Session>) -> Result<(), StoreError> {
    let session = match connection {
        Some(session) => session,
        None => {
            let opening = timeout(connector.time_limit(), connector.open());
            let opened = opening.await.map_err(|_| StoreError::timeout())?;
            connection.insert(opened?)
        }
    };
    let reply = timeout(MAX_AGE, session.client().batch_execute(STATEMENT)).await;
    Ok(reply.map_err(|_| StoreError::timeout())??)
}

/// Marks the database as unreachable when the last reply becomes too old. Polled by the same task
/// as [`probe`], so that it cannot overtake a reply.
async fn expire(shared: &Shared) {
    let mut replies = shared.reply.subscribe();
    loop {
        let expiry = replies
            .borrow_and_update()
            .map(|reply| reply.sent + MAX_AGE);
        let is_open = tokio::select! {
            biased;
            reply = replies.changed() => reply.is_ok(),
            () = sleep_until(expiry.unwrap_or_else(Instant::now)), if expiry.is_some() => {
                shared.mark_unreachable();
                replies.changed().await.is_ok()
            }
        };
        if !is_open {
            return;
        }
    }
}

impl Shared {
    fn record_reply(&self, reply: Reply) {
        self.health.succeeded();
        if reply.sent + MAX_AGE <= Instant::now() {
            return;
        }
        let was_reachable = self.is_reachable.swap(true, Ordering::Relaxed);
        self.reply.send_replace(Some(reply));
        if !was_reachable {
            tracing::info!("PostgreSQL reachable");
        }
    }

    fn mark_unreachable(&self) {
        self.is_reachable.store(false, Ordering::Relaxed);
        self.health.lost();
        tracing::warn!(
            max_age_s = MAX_AGE.as_secs(),
            "PostgreSQL not reached: reads of callers with the API key bypass the cache"
        );
    }
}
