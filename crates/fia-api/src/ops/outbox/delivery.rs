//! One batch of messages on its way to the broker.

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

/// How often the claims on messages that are not confirmed yet are renewed.
const RENEW: Duration = Duration::from_secs(5);
/// How long to wait after a failed attempt to delete what the broker has.
const AGAIN: Duration = Duration::from_millis(500);
/// From this age on a message's wait is worth a word.
const LONG_WAIT: Duration = Duration::from_secs(5);

/// Publishes messages and deletes those that the broker confirms. The claim on a message is
/// kept for as long as its confirmation may still come; it is given up when the connection
/// breaks or the broker refuses.
pub(super) async fn deliver(shared: Arc<Shared>, link: Arc<Connection>, claimed: Vec<Claimed>) {
    report_wait(&claimed);
    let mut waiting: BTreeSet<i64> = claimed.iter().map(|claimed| claimed.id).collect();
    let publish = |claimed: Claimed| {
        let link = Arc::clone(&link);
        async move { (claimed.id, link.publish(&claimed.message).await) }
    };
    let mut confirms: FuturesUnordered<_> = claimed.into_iter().map(publish).collect();
    let mut renewal = interval(RENEW);
    renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Its first tick is at once, and nothing is old then.
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
                    tracing::debug!(%error, message = id, "a message was not confirmed");
                    waiting.remove(&id);
                    failed.push(id);
                }
            },
            _ = renewal.tick() => {
                shared.settle(&mut confirmed, &mut failed).await;
                let ids: Vec<i64> = waiting.iter().copied().collect();
                if let Err(error) = outbox::renew(&shared.db, &ids).await {
                    tracing::warn!(%error, "the claims on messages could not be renewed");
                }
            }
        }
    }
    shared.settle(&mut confirmed, &mut failed).await;
}

impl Shared {
    /// Deletes what the broker has, and gives the claims on what it has not up.
    async fn settle(&self, confirmed: &mut Vec<i64>, failed: &mut Vec<i64>) {
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
            tracing::warn!(messages = failed.len(), "messages will be sent again");
            if let Err(error) = outbox::release(&self.db, failed).await {
                tracing::debug!(%error, "claims are left to lapse");
            }
            failed.clear();
        }
    }

    /// Insists while the claims last: what is not deleted is sent again.
    async fn delete(&self, ids: &[i64]) {
        let attempts = CLAIM.as_millis() / (2 * AGAIN.as_millis());
        for _ in 0..attempts {
            match outbox::delete(&self.db, ids).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::debug!(%error, "sent messages could not be deleted");
                    sleep(AGAIN).await;
                }
            }
        }
        tracing::error!(
            messages = ids.len(),
            "messages that were sent will be sent again: the database is away"
        );
    }
}

fn report_wait(claimed: &[Claimed]) {
    let oldest = claimed.iter().map(|claimed| claimed.age).max();
    if let Some(oldest) = oldest.filter(|oldest| *oldest >= LONG_WAIT) {
        tracing::info!(
            messages = claimed.len(),
            oldest_seconds = oldest.as_secs(),
            "sending messages that have waited"
        );
    }
}
