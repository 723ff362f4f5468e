//! Delivery of one batch of messages to the broker.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::broker::{BrokerError, Connection};
use crate::observe::in_context;
use crate::ops::outbox::claims::Session;
use crate::ops::outbox::refusals::Refusal;
use crate::ops::outbox::shared::Shared;
use crate::store::outbox::{self, CLAIM, Claimed};

/// How often a batch in flight records what was confirmed or failed, and checks its session.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// The renewal interval of claims on unconfirmed messages.
const RENEW_INTERVAL: Duration = Duration::from_secs(5);
/// The backoff after a failed deletion of confirmed messages.
const DELETE_BACKOFF: Duration = Duration::from_millis(500);
/// The age from which a message's wait is logged.
const LONG_WAIT: Duration = Duration::from_secs(5);

/// A batch of claimed messages.
pub(super) struct Batch {
    shared: Arc<Shared>,
    session: Session,
    unconfirmed: BTreeSet<i64>,
    confirmed: Vec<i64>,
    /// Not confirmed for a reason that is not the message's.
    failed: Vec<i64>,
    refused: Vec<Refusal>,
    /// The last renewal failed, which was logged.
    is_renewal_failing: bool,
}

impl Batch {
    pub(super) fn new(shared: Arc<Shared>, session: Session) -> Self {
        Self {
            shared,
            session,
            unconfirmed: BTreeSet::new(),
            confirmed: Vec::new(),
            failed: Vec::new(),
            refused: Vec::new(),
            is_renewal_failing: false,
        }
    }

    /// Publishes messages and deletes those that the broker confirms. The claim on a message is
    /// kept while its confirmation may still arrive, and released if the connection breaks or the
    /// queue is unusable. A message that the broker refuses is retried later, or parked.
    pub(super) async fn deliver(mut self, connection: Arc<Connection>, claimed: Vec<Claimed>) {
        report_wait(&claimed);
        self.unconfirmed = claimed.iter().map(|claimed| claimed.id).collect();
        let publish = |claimed: Claimed| {
            let connection = Arc::clone(&connection);
            let trace = self.shared.traces.take(&claimed.message);
            async move {
                let publish = connection.publish(&claimed.message);
                let outcome = in_context(trace.as_ref(), publish).await;
                (claimed, outcome)
            }
        };
        let mut publications: FuturesUnordered<_> = claimed.into_iter().map(publish).collect();
        let mut checks = interval(CHECK_INTERVAL);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut renewed = Instant::now();
        loop {
            let session = self.session.clone();
            tokio::select! {
                next = publications.next() => match next {
                    None => break,
                    Some((claimed, outcome)) => self.record(claimed, outcome),
                },
                () = session.lost(), if session.is_alive() => self.renew().await,
                _ = checks.tick() => {
                    self.finish().await;
                    if !session.is_alive() || renewed.elapsed() >= RENEW_INTERVAL {
                        self.renew().await;
                        renewed = Instant::now();
                    }
                }
            }
        }
        self.finish().await;
    }

    fn record(&mut self, claimed: Claimed, outcome: Result<(), BrokerError>) {
        self.unconfirmed.remove(&claimed.id);
        match outcome {
            Ok(()) => self.confirmed.push(claimed.id),
            Err(BrokerError::Refused(error)) => self.refused.push(Refusal { claimed, error }),
            Err(error) => {
                tracing::debug!(%error, message_id = claimed.id, "message not confirmed: its claim will be released");
                self.failed.push(claimed.id);
            }
        }
    }

    /// Renews the claims on unconfirmed messages, with another session if this one was lost.
    async fn renew(&mut self) {
        let ids: Vec<i64> = self.unconfirmed.iter().copied().collect();
        let session = if self.session.is_alive() {
            self.session.clone()
        } else {
            self.shared.claims.session(&self.shared.db).await
        };
        let (from, to) = (self.session.id(), session.id());
        match outbox::renew(&self.shared.db, &ids, from, to).await {
            Ok(()) => {
                self.session = session;
                self.is_renewal_failing = false;
            }
            Err(error) => {
                if !self.is_renewal_failing {
                    tracing::warn!(%error, "renewing message claims failed: messages may be sent twice");
                }
                self.is_renewal_failing = true;
            }
        }
    }

    /// Deletes confirmed messages, and ends the claims on failed and refused ones.
    async fn finish(&mut self) {
        let shared = &self.shared;
        let counts = &shared.counts;
        let failed = self.failed.len() + self.refused.len();
        counts
            .published
            .fetch_add(self.confirmed.len() as u64, Ordering::Relaxed);
        counts.failed.fetch_add(failed as u64, Ordering::Relaxed);
        if !self.confirmed.is_empty() {
            shared.delete(&self.confirmed).await;
            self.confirmed.clear();
        }
        if !self.failed.is_empty() {
            let session = self.session.id();
            if let Err(error) = outbox::release(&shared.db, &self.failed, session).await {
                tracing::debug!(%error, "releasing claims failed: they will end by themselves");
            }
            self.failed.clear();
        }
        for refusal in self.refused.drain(..) {
            refusal.store(&shared.db, self.session.id()).await;
        }
    }
}

impl Shared {
    /// Retries for as long as the claims last: messages that are not deleted are sent again.
    async fn delete(&self, ids: &[i64]) {
        let attempts = CLAIM.as_millis() / (2 * DELETE_BACKOFF.as_millis());
        for _ in 0..attempts {
            match outbox::delete(&self.db, ids).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::debug!(%error, "deleting confirmed messages failed: retrying");
                    sleep(DELETE_BACKOFF).await;
                }
            }
        }
        tracing::error!(
            messages = ids.len(),
            "deleting confirmed messages failed: they will be sent twice"
        );
    }
}

fn report_wait(claimed: &[Claimed]) {
    let oldest = claimed.iter().map(|claimed| claimed.age).max();
    if let Some(oldest) = oldest.filter(|oldest| *oldest >= LONG_WAIT) {
        tracing::info!(
            messages = claimed.len(),
            oldest_seconds = oldest.as_secs(),
            "sending delayed messages"
        );
    }
}
