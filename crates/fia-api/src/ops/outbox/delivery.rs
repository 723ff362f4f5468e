//! Delivery of one batch of messages to the broker.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::broker::Connection;
use crate::ops::outbox::shared::Shared;
use crate::store::outbox::{self, CLAIM, Claimed};

/// The renewal interval of claims on unconfirmed messages.
const RENEW_INTERVAL: Duration = Duration::from_secs(5);
/// The backoff after a failed deletion of confirmed messages.
const DELETE_BACKOFF: Duration = Duration::from_millis(500);
/// The age from which a message's wait is logged.
const LONG_WAIT: Duration = Duration::from_secs(5);

/// Publishes messages and deletes those that the broker confirms. The claim on a message is
/// renewed while its confirmation may still arrive, and released if the connection breaks or the
/// broker rejects it.
pub(super) async fn deliver(shared: Arc<Shared>, link: Arc<Connection>, claimed: Vec<Claimed>) {
    report_wait(&claimed);
    let mut waiting: BTreeSet<i64> = claimed.iter().map(|claimed| claimed.id).collect();
    let publish = |claimed: Claimed| {
        let link = Arc::clone(&link);
        async move { (claimed.id, link.publish(&claimed.message).await) }
    };
    let mut confirms: FuturesUnordered<_> = claimed.into_iter().map(publish).collect();
    let mut renewal = interval(RENEW_INTERVAL);
    renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is immediate, when the claims are new.
    renewal.tick().await;
    let mut confirmed = Vec::new();
    let mut failed = Vec::new();
    loop {
        tokio::select! {
            next = confirms.next() => match next {
                None => break,
                Some((id, Ok(()))) => {
                    waiting.remove(&id);
                    confirmed.push(id);
                }
                Some((id, Err(error))) => {
                    tracing::debug!(%error, message_id = id, "message not confirmed: its claim will be released");
                    waiting.remove(&id);
                    failed.push(id);
                }
            },
            _ = renewal.tick() => {
                shared.finish(&mut confirmed, &mut failed).await;
                let ids: Vec<i64> = waiting.iter().copied().collect();
                if let Err(error) = outbox::renew(&shared.db, &ids).await {
                    tracing::warn!(%error, "renewing message claims failed: messages may be sent twice");
                }
            }
        }
    }
    shared.finish(&mut confirmed, &mut failed).await;
}

impl Shared {
    /// Deletes confirmed messages and releases the claims on failed ones.
    async fn finish(&self, confirmed: &mut Vec<i64>, failed: &mut Vec<i64>) {
        let counts = &self.counts;
        counts
            .published
            .fetch_add(confirmed.len() as u64, Ordering::Relaxed);
        counts
            .failed
            .fetch_add(failed.len() as u64, Ordering::Relaxed);
        if !confirmed.is_empty() {
            self.delete(confirmed).await;
            confirmed.clear();
        }
        if !failed.is_empty() {
            tracing::warn!(
                messages = failed.len(),
                "messages not confirmed: sending them again"
            );
            if let Err(error) = outbox::release(&self.db, failed).await {
                tracing::debug!(%error, "releasing claims failed: they will expire");
            }
            failed.clear();
        }
    }

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
