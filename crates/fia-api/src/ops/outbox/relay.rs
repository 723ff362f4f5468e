//! Publishes what waits in the outbox: what was just committed at once, what another process
//! left behind or the broker could not take as soon as may be.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::ops::outbox::delivery::deliver;
use crate::ops::outbox::shared::Shared;
use crate::store::StoreError;
use crate::store::outbox::{self, Backlog};

/// How often the table is looked at when nobody says that there is something.
const SWEEP: Duration = Duration::from_secs(2);
/// How many messages are claimed together.
const BATCH: usize = 32;
/// How many batches may be under way; one message that is not confirmed holds up its own batch.
const BATCHES: usize = 4;
/// How old a message is when waiting is worth a word, and how often.
const LONG_WAIT: Duration = Duration::from_secs(10);
const SAY_AGAIN: Duration = Duration::from_secs(30);

/// Runs until the process ends.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut relay = Relay {
        shared: Arc::clone(&shared),
        batches: JoinSet::new(),
        behind: false,
        trouble: None,
        said: None,
    };
    let mut sweep = interval(SWEEP);
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
    /// More waits than was claimed.
    behind: bool,
    /// Why nothing could be published when it was last tried.
    trouble: Option<String>,
    said: Option<Instant>,
}

impl Relay {
    async fn sweep(&mut self) {
        match self.look().await {
            Ok(Some(backlog)) => {
                if backlog.messages > 0 {
                    self.publish_waiting().await;
                }
                self.report(backlog);
            }
            Ok(None) => {}
            Err(error) => tracing::debug!(%error, "the outbox cannot be looked at"),
        }
    }

    /// What waits; `None` where there is no table.
    async fn look(&self) -> Result<Option<Backlog>, StoreError> {
        if !self.shared.has_table() {
            self.shared.look_for_table().await?;
        }
        if !self.shared.has_table() {
            return Ok(None);
        }
        let backlog = outbox::backlog(&self.shared.db).await;
        if let Err(StoreError::Refused(_)) = backlog {
            // Somebody dropped it.
            self.shared.forget_table();
        }
        let backlog = backlog?;
        let known = &self.shared.counts.backlog;
        *known.lock() = backlog;
        Ok(Some(backlog))
    }

    async fn publish_waiting(&mut self) {
        self.behind = false;
        self.trouble = None;
        while self.shared.has_table() {
            if self.batches.len() >= BATCHES {
                self.behind = true;
                return;
            }
            match self.claim_and_spawn().await {
                Ok(claimed) if claimed == BATCH => {}
                Ok(_) => return,
                Err(trouble) => {
                    self.trouble = Some(trouble);
                    return;
                }
            }
        }
    }

    /// Claims messages, if the broker takes any, and has them published. Gives their number.
    async fn claim_and_spawn(&mut self) -> Result<usize, String> {
        let link = self.shared.broker.connection().await;
        let link = link.map_err(|error| error.to_string())?;
        if link.is_blocked() {
            return Err("the broker takes no messages".to_owned());
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
        match self.said {
            Some(at) if waits_long && at.elapsed() < SAY_AGAIN => {}
            _ if waits_long => {
                tracing::warn!(
                    messages = backlog.messages,
                    oldest_seconds = backlog.oldest.as_secs(),
                    trouble = self.trouble.as_deref().unwrap_or("none"),
                    "messages wait for RabbitMQ"
                );
                self.said = Some(Instant::now());
            }
            Some(_) => {
                tracing::info!("no message waits for RabbitMQ any more");
                self.said = None;
            }
            None => {}
        }
    }
}
