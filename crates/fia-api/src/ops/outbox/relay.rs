//! The relay of the outbox: publishes committed messages immediately, and in regular sweeps those
//! that another process left or the broker did not accept.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::ops::outbox::delivery::Batch;
use crate::ops::outbox::shared::Shared;
use crate::store::StoreError;
use crate::store::outbox::{self, Backlog};

/// The interval of sweeps, which find messages without a wake-up, such as those of a killed replica.
const SWEEP_INTERVAL: Duration = Duration::from_millis(500);
/// The interval in which the backlog is counted.
const COUNT_INTERVAL: Duration = Duration::from_secs(2);
/// The most messages of a batch.
const BATCH_SIZE: usize = 32;
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
        counted: None,
        ended_sessions: Vec::new(),
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
    /// The last count of the backlog.
    counted: Option<Instant>,
    /// The sessions that had ended at the last sweep, and left claims.
    ended_sessions: Vec<i64>,
    /// The last report of waiting messages.
    reported: Option<Instant>,
}

impl Relay {
    async fn sweep(&mut self) {
        if let Err(error) = self.try_sweep().await {
            if let StoreError::Refused(_) = error {
                // The table was dropped.
                self.shared.forget_table();
            }
            tracing::debug!(%error, "sweeping the outbox failed: retrying at the next sweep");
        }
    }

    async fn try_sweep(&mut self) -> Result<(), StoreError> {
        let count_due = self
            .counted
            .is_none_or(|counted| counted.elapsed() >= COUNT_INTERVAL);
        if count_due {
            self.counted = Some(Instant::now());
            if !self.shared.has_table() {
                self.shared.detect_table().await?;
            }
        }
        if !self.shared.has_table() {
            return Ok(());
        }
        let Shared { db, claims, .. } = &*self.shared;
        claims.close_idle().await;
        let own = claims.own().await;
        let work = outbox::find_work(db, &own, &self.ended_sessions).await?;
        self.ended_sessions = work.ended_sessions;
        if work.is_claimable {
            self.publish_waiting().await;
        }
        if count_due {
            let backlog = outbox::backlog(&self.shared.db).await?;
            *self.shared.counts.backlog.lock() = backlog;
            self.report(backlog);
        }
        Ok(())
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
                Ok(claimed) if claimed == BATCH_SIZE => {}
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
        let shared = &self.shared;
        let connection = shared.broker.connection().await;
        let connection = connection.map_err(|error| error.to_string())?;
        if connection.is_blocked() {
            return Err("the broker blocks publishers".to_owned());
        }
        let session = shared.claims.session(&shared.db).await;
        let except = shared.broker.backed_off_queues();
        let claimed = outbox::claim(&shared.db, session.id(), BATCH_SIZE, &except).await;
        let claimed = claimed.map_err(|error| error.to_string())?;
        let count = claimed.len();
        if count > 0 {
            let batch = Batch::new(Arc::clone(shared), session);
            self.batches.spawn(batch.deliver(connection, claimed));
        } else if !except.is_empty() {
            return Err(format!("queues unusable: {}", except.join(", ")));
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
