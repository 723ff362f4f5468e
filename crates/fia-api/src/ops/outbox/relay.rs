//! The relay of the outbox: publishes committed messages immediately, and in regular sweeps those
//! that another process left or the broker did not accept.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::ops::outbox::delivery::deliver;
use crate::ops::outbox::shared::Shared;
use crate::store::StoreError;
use crate::store::outbox::{self, Backlog};

/// The interval of sweeps, which find messages without a wake-up.
const SWEEP_INTERVAL: Duration = Duration::from_secs(2);
/// The most messages of a batch.
const BATCH: usize = 32;
/// The most batches in flight; an unconfirmed message delays only its own batch.
const MAX_BATCHES: usize = 4;
/// The age from which a message's wait is logged, and the interval of that log line.
const LONG_WAIT: Duration = Duration::from_secs(10);
const REPORT_INTERVAL: Duration = Duration::from_secs(30);

/// Runs until shutdown.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut relay = Relay {
        shared: Arc::clone(&shared),
        batches: JoinSet::new(),
        behind: false,
        last_error: None,
        reported: None,
    };
    let mut sweep = interval(SWEEP_INTERVAL);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shared.wake.notified() => relay.publish_waiting().await,
            _ = sweep.tick() => relay.sweep().await,
            Some(_) = relay.batches.join_next() => {
                if relay.behind {
                    relay.publish_waiting().await;
                }
            }
            () = shared.stop.notified() => break,
        }
    }
    relay.publish_waiting().await;
    while relay.batches.join_next().await.is_some() {}
}

struct Relay {
    shared: Arc<Shared>,
    batches: JoinSet<()>,
    /// More messages wait than were claimed.
    behind: bool,
    /// The reason why the last attempt to publish failed.
    last_error: Option<String>,
    /// The last report of waiting messages.
    reported: Option<Instant>,
}

impl Relay {
    async fn sweep(&mut self) {
        match self.backlog().await {
            Ok(Some(backlog)) => {
                if backlog.messages > 0 {
                    self.publish_waiting().await;
                }
                self.report(backlog);
            }
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(%error, "sweeping the outbox failed: retrying at the next sweep");
            }
        }
    }

    /// The backlog; `None` without the table.
    async fn backlog(&self) -> Result<Option<Backlog>, StoreError> {
        if !self.shared.has_table() {
            self.shared.detect_table().await?;
        }
        if !self.shared.has_table() {
            return Ok(None);
        }
        let backlog = outbox::backlog(&self.shared.db).await;
        if let Err(StoreError::Refused(_)) = backlog {
            // The table was dropped.
            self.shared.forget_table();
        }
        let backlog = backlog?;
        let known = &self.shared.counts.backlog;
        *known.lock() = backlog;
        Ok(Some(backlog))
    }

    async fn publish_waiting(&mut self) {
        self.behind = false;
        self.last_error = None;
        while self.shared.has_table() {
            if self.batches.len() >= MAX_BATCHES {
                self.behind = true;
                return;
            }
            match self.claim_and_spawn().await {
                Ok(claimed) if claimed == BATCH => {}
                Ok(_) => return,
                Err(error) => {
                    self.last_error = Some(error);
                    return;
                }
            }
        }
    }

    /// Claims messages if the broker accepts any, starts their delivery, and returns their number.
    async fn claim_and_spawn(&mut self) -> Result<usize, String> {
        let link = self.shared.broker.connection().await;
        let link = link.map_err(|error| error.to_string())?;
        if link.is_blocked() {
            return Err("the broker blocks publishers".to_owned());
        }
        let claimed = outbox::claim(&self.shared.db, BATCH).await;
        let claimed = claimed.map_err(|error| error.to_string())?;
        let count = claimed.len();
        if count > 0 {
            let shared = Arc::clone(&self.shared);
            self.batches.spawn(deliver(shared, link, claimed));
        }
        Ok(count)
    }

    fn report(&mut self, backlog: Backlog) {
        let waits_long = backlog.messages > 0 && backlog.oldest >= LONG_WAIT;
        match self.reported {
            Some(at) if waits_long && at.elapsed() < REPORT_INTERVAL => {}
            _ if waits_long => {
                tracing::warn!(
                    messages = backlog.messages,
                    oldest_seconds = backlog.oldest.as_secs(),
                    reason = self.last_error.as_deref().unwrap_or("none"),
                    "messages are waiting for RabbitMQ"
                );
                self.reported = Some(Instant::now());
            }
            Some(_) => {
                tracing::info!("all waiting messages were published");
                self.reported = None;
            }
            None => {}
        }
    }
}
