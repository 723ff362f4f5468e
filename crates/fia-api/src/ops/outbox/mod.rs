//! From a job's transaction to the broker: no message is lost, and none speaks of a job that
//! does not exist.
//!
//! A message is written in the transaction that makes the job, and a [relay]
//! publishes it after the commit: at once, or when the broker is back. Where the table for
//! that does not exist, the message is published before the commit instead, and a job is only
//! made while the broker answers.

mod delivery;
mod relay;
mod shared;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::broker::Broker;
use crate::error::ApiError;
use crate::model::Message;
use crate::ops::outbox::shared::Shared;
use crate::store::outbox::{self, Backlog};
use crate::store::{Db, Transaction};

/// How long messages under way may take when the process ends.
const CLOSE: Duration = Duration::from_secs(1);

/// The way of messages to the broker.
pub struct Outbox {
    shared: Arc<Shared>,
    relay: Mutex<Option<JoinHandle<()>>>,
}

/// How the way to the broker is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Statistics {
    /// Messages that the broker has confirmed.
    pub published: u64,
    /// Attempts that it did not confirm.
    pub failed: u64,
    /// Messages that wait, as of the last look at the table, a few seconds ago.
    pub backlog: Backlog,
}

impl Outbox {
    /// Starts the relay. To be called within a Tokio runtime.
    #[must_use]
    pub fn new(db: Db, broker: Broker) -> Self {
        let shared = Arc::new(Shared::new(db, broker));
        let relay = tokio::spawn(relay::run(Arc::clone(&shared)));
        Self {
            shared,
            relay: Mutex::new(Some(relay)),
        }
    }

    /// Commits the transaction of a job, and sees to it that its message is published.
    ///
    /// # Errors
    /// When the database fails; or, without the table, when the broker does not confirm the
    /// message within 2 s: then the transaction leaves nothing behind.
    pub async fn commit(&self, transaction: Transaction, message: Message) -> Result<(), ApiError> {
        let shared = Arc::clone(&self.shared);
        // In a task of its own: a client that hangs up cannot part the commit from the message.
        let work = async move {
            if shared.has_table_in(&transaction).await? {
                outbox::add(&transaction, &message).await?;
                transaction.commit().await?;
                shared.wake.notify_one();
                Ok(())
            } else {
                shared.publish_and_commit(transaction, &message).await
            }
        };
        tokio::spawn(work).await.unwrap_or_else(|error| {
            tracing::error!(%error, "a commit did not end");
            Err(ApiError::Internal)
        })
    }

    /// Sees to it that a message without a job of its own is published.
    ///
    /// # Errors
    /// As [`Outbox::commit`].
    pub async fn send(&self, message: Message) -> Result<(), ApiError> {
        let transaction = self.shared.db.begin().await?;
        self.commit(transaction, message).await
    }

    /// What has been done so far, and what waits.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let counts = &self.shared.counts;
        Statistics {
            published: counts.published.load(Ordering::Relaxed),
            failed: counts.failed.load(Ordering::Relaxed),
            backlog: *counts.backlog.lock(),
        }
    }

    /// Publishes what was just committed, for 1 s at most. What remains waits for the next
    /// process.
    pub async fn close(&self) {
        let relay = self.relay.lock().take();
        let Some(mut relay) = relay else { return };
        self.shared.stop.notify_one();
        if timeout(CLOSE, &mut relay).await.is_err() {
            relay.abort();
            tracing::warn!("some messages wait for the next process");
        }
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        let relay = self.relay.get_mut();
        if let Some(relay) = relay.take() {
            relay.abort();
        }
    }
}
