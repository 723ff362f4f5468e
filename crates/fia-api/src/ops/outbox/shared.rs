//! What requests and the relay share, and whether the outbox has its table.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::broker::Broker;
use crate::error::ApiError;
use crate::model::Message;
use crate::store::outbox::{self, Backlog};
use crate::store::{Db, StoreError, Transaction};

/// How long the broker may take to confirm a message while its job's transaction is open.
const CONFIRM: Duration = Duration::from_secs(2);

const UNKNOWN: u8 = 0;
const PRESENT: u8 = 1;
const ABSENT: u8 = 2;

/// What the relay and the requests share.
pub(super) struct Shared {
    pub(super) db: Db,
    pub(super) broker: Broker,
    /// A message was committed.
    pub(super) wake: Notify,
    /// The process ends.
    pub(super) stop: Notify,
    pub(super) counts: Counts,
    /// Whether the table was there at the last look.
    table: AtomicU8,
}

/// What has been done so far.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) published: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) backlog: Mutex<Backlog>,
}

impl Shared {
    pub(super) fn new(db: Db, broker: Broker) -> Self {
        Self {
            db,
            broker,
            wake: Notify::new(),
            stop: Notify::new(),
            counts: Counts::default(),
            table: AtomicU8::new(UNKNOWN),
        }
    }

    /// Whether the table was there at the last look.
    pub(super) fn has_table(&self) -> bool {
        self.table.load(Ordering::Relaxed) == PRESENT
    }

    /// Has the next who asks look whether the table is there.
    pub(super) fn forget_table(&self) {
        self.table.store(UNKNOWN, Ordering::Relaxed);
    }

    /// Looks whether the table is there.
    pub(super) async fn look_for_table(&self) -> Result<(), StoreError> {
        let transaction = self.db.begin().await?;
        let found = self.look(&transaction).await;
        transaction.roll_back().await;
        found.map(drop)
    }

    pub(super) async fn has_table_in(&self, transaction: &Transaction) -> Result<bool, StoreError> {
        match self.table.load(Ordering::Relaxed) {
            UNKNOWN => self.look(transaction).await,
            known => Ok(known == PRESENT),
        }
    }

    async fn look(&self, transaction: &Transaction) -> Result<bool, StoreError> {
        let present = outbox::exists(transaction).await?;
        let now = if present { PRESENT } else { ABSENT };
        if self.table.swap(now, Ordering::Relaxed) != now {
            if present {
                tracing::info!(
                    "outbox table found: messages are queued in it until RabbitMQ confirms them"
                );
            } else {
                tracing::warn!(
                    "there is no table fia_api_outbox (see `fia-api schema --apply`): \
                     jobs are refused while RabbitMQ is away"
                );
            }
        }
        Ok(present)
    }

    /// Without the table: publishes before the commit, or makes no job.
    pub(super) async fn publish_and_commit(
        &self,
        transaction: Transaction,
        message: &Message,
    ) -> Result<(), ApiError> {
        let publish = async { self.broker.connection().await?.publish(message).await };
        let trouble = match timeout(CONFIRM, publish).await {
            Ok(Ok(())) => {
                self.counts.published.fetch_add(1, Ordering::Relaxed);
                return Ok(transaction.commit().await?);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no confirmation in time".to_owned(),
        };
        self.counts.failed.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(trouble, "a job is refused: its message cannot be sent");
        transaction.roll_back().await;
        Err(ApiError::Unavailable)
    }
}
