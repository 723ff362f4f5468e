//! Transactional outbox: every committed job's message reaches the broker, and no message refers
//! to a job that does not exist.
//!
//! A message is inserted in the transaction that creates the job, and the [relay] publishes it
//! after the commit: immediately, or once the broker is reachable. Without the outbox table, the
//! message is published before the commit, and jobs are created only while the broker confirms.

mod claims;
mod delivery;
mod refusals;
mod relay;
mod shared;
mod traces;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::Instrument as _;

use crate::broker::Broker;
use crate::cached::JobGroups;
use crate::error::ApiError;
use crate::model::Message;
use crate::observe::{current_trace, in_context};
use crate::ops::outbox::shared::Shared;
use crate::store::new_jobs::InsertedJob;
use crate::store::outbox::{self, Backlog};
use crate::store::{Db, Transaction};

/// The timeout for in-flight messages at shutdown.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The outbox of messages for the broker.
pub struct Outbox {
    shared: Arc<Shared>,
    relay: Mutex<Option<JoinHandle<()>>>,
}

/// The state of the outbox.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Statistics {
    /// Messages confirmed by the broker.
    pub published: u64,
    /// Attempts that the broker did not confirm.
    pub failed: u64,
    /// The messages in the table when they were last counted.
    pub backlog: Backlog,
}

impl Outbox {
    /// Starts the relay. Messages of more than `max_message_bytes` are rejected. Must be called
    /// within a Tokio runtime.
    #[must_use]
    pub fn new(db: Db, broker: Broker, groups: JobGroups, max_message_bytes: usize) -> Self {
        let shared = Arc::new(Shared::new(db, broker, groups, max_message_bytes));
        let relay = tokio::spawn(relay::run(Arc::clone(&shared)));
        Self {
            shared,
            relay: Mutex::new(Some(relay)),
        }
    }

    /// Commits the transaction of a new job, and has its message published.
    ///
    /// # Errors
    /// [`ApiError::TooLarge`] if the message exceeds the limit, and the transaction is rolled back.
    /// If the database fails; without the table also if the broker does not confirm the message
    /// within 2 s, and the transaction is rolled back.
    pub async fn commit(
        &self,
        transaction: Transaction,
        job: &InsertedJob,
        message: Message,
    ) -> Result<(), ApiError> {
        let instrument = job.instrument.clone();
        self.commit_changing(transaction, instrument, message).await
    }

    /// Commits a transaction that has changed the lists of an instrument's jobs, or none.
    async fn commit_changing(
        &self,
        transaction: Transaction,
        instrument: Option<String>,
        message: Message,
    ) -> Result<(), ApiError> {
        let shared = Arc::clone(&self.shared);
        if let Err(error) = shared.check_size(&message) {
            transaction.roll_back().await;
            return Err(error);
        }
        // In its own task: a client that disconnects must not separate the commit from the message.
        let work = async move {
            if shared.has_table_in(&transaction).await? {
                outbox::add(&transaction, &message).await?;
                shared.traces.insert(&message);
                shared.commit(transaction, instrument).await?;
                shared.wake.notify_one();
                Ok(())
            } else {
                shared
                    .publish_and_commit(transaction, instrument, &message)
                    .await
            }
        };
        let trace = current_trace();
        let work = async move { in_context(trace.as_ref(), work).await };
        tokio::spawn(work.in_current_span())
            .await
            .unwrap_or_else(|error| {
                tracing::error!(%error, "commit task failed: outcome of the transaction unknown");
                Err(ApiError::Internal)
            })
    }

    /// Has a message published that belongs to no new job.
    ///
    /// # Errors
    /// As [`Outbox::commit`].
    pub async fn send(&self, message: Message) -> Result<(), ApiError> {
        let transaction = self.shared.db.begin().await?;
        self.commit_changing(transaction, None, message).await
    }

    /// The counters and the backlog.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let counts = &self.shared.counts;
        Statistics {
            published: counts.published.load(Ordering::Relaxed),
            failed: counts.failed.load(Ordering::Relaxed),
            backlog: *counts.backlog.lock(),
        }
    }

    /// Publishes committed messages for at most 1 s. The rest stays in the table for the next
    /// process.
    pub async fn close(&self) {
        let relay = self.relay.lock().take();
        let Some(mut relay) = relay else { return };
        self.shared.stop.notify_one();
        if timeout(CLOSE_TIMEOUT, &mut relay).await.is_err() {
            relay.abort();
            tracing::warn!("outbox not drained at shutdown: remaining messages stay in the table");
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
