//! State shared by requests and the relay, and the presence of the outbox table.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::broker::Broker;
use crate::cached::JobGroups;
use crate::error::ApiError;
use crate::model::Message;
use crate::ops::outbox::claims::Claims;
use crate::ops::outbox::traces::MessageTraces;
use crate::store::outbox::{self, Backlog};
use crate::store::{Db, StoreError, Transaction};

/// The timeout of a confirmation while the job's transaction is open.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(2);

const UNKNOWN: u8 = 0;
const PRESENT: u8 = 1;
const ABSENT: u8 = 2;

/// State shared by requests and the relay.
pub(super) struct Shared {
    pub(super) db: Db,
    pub(super) broker: Broker,
    groups: JobGroups,
    /// Notified when a message was committed.
    pub(super) wake: Notify,
    /// Notified at shutdown.
    pub(super) stop: Notify,
    pub(super) counts: Counts,
    pub(super) claims: Claims,
    /// The largest message, in bytes.
    max_message_bytes: usize,
    pub(super) traces: MessageTraces,
    /// The presence of the table when it was last checked.
    table: AtomicU8,
}

/// Counters of the outbox.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) published: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) backlog: Mutex<Backlog>,
}

impl Shared {
    pub(super) fn new(db: Db, broker: Broker, groups: JobGroups, max_message_bytes: usize) -> Self {
        Self {
            db,
            broker,
            groups,
            wake: Notify::new(),
            stop: Notify::new(),
            counts: Counts::default(),
            claims: Claims::default(),
            max_message_bytes,
            traces: MessageTraces::default(),
            table: AtomicU8::new(UNKNOWN),
        }
    }

    /// Checks that the broker can be expected to accept the message.
    pub(super) fn check_size(&self, message: &Message) -> Result<(), ApiError> {
        let bytes = message.body.len();
        if bytes <= self.max_message_bytes {
            return Ok(());
        }
        tracing::info!(
            bytes,
            max_bytes = self.max_message_bytes,
            "message exceeds MAX_MESSAGE_BYTES: request rejected"
        );
        Err(ApiError::TooLarge)
    }

    /// Returns true if the table existed when it was last checked.
    pub(super) fn has_table(&self) -> bool {
        self.table.load(Ordering::Relaxed) == PRESENT
    }

    /// Has the presence of the table checked again before its next use.
    pub(super) fn forget_table(&self) {
        self.table.store(UNKNOWN, Ordering::Relaxed);
    }

    /// Checks the presence of the table.
    pub(super) async fn detect_table(&self) -> Result<(), StoreError> {
        let transaction = self.db.begin().await?;
        let found = self.detect_in(&transaction).await;
        transaction.roll_back().await;
        found.map(drop)
    }

    pub(super) async fn has_table_in(&self, transaction: &Transaction) -> Result<bool, StoreError> {
        match self.table.load(Ordering::Relaxed) {
            UNKNOWN => self.detect_in(transaction).await,
            known => Ok(known == PRESENT),
        }
    }

    async fn detect_in(&self, transaction: &Transaction) -> Result<bool, StoreError> {
        let present = outbox::exists(transaction).await?;
        let now = if present { PRESENT } else { ABSENT };
        if self.table.swap(now, Ordering::Relaxed) != now {
            if present {
                tracing::info!(
                    "outbox table found: messages are queued in it until RabbitMQ confirms them"
                );
            } else {
                tracing::warn!(
                    "no table fia_api_outbox, or it lacks columns of this version (see `fia-api \
                     schema --apply`): jobs are rejected while RabbitMQ is unavailable"
                );
            }
        }
        Ok(present)
    }

    /// Commits a transaction that has changed the lists of an instrument's jobs, or none.
    pub(super) async fn commit(
        &self,
        transaction: Transaction,
        instrument: Option<String>,
    ) -> Result<(), StoreError> {
        self.groups.commit(transaction, instrument.as_deref()).await
    }

    /// Publishes before the commit, without the table; rolls back if the broker does not confirm.
    pub(super) async fn publish_and_commit(
        &self,
        transaction: Transaction,
        instrument: Option<String>,
        message: &Message,
    ) -> Result<(), ApiError> {
        let publish = async { self.broker.connection().await?.publish(message).await };
        let reason = match timeout(CONFIRM_TIMEOUT, publish).await {
            Ok(Ok(())) => {
                self.counts.published.fetch_add(1, Ordering::Relaxed);
                return Ok(self.commit(transaction, instrument).await?);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no confirmation in time".to_owned(),
        };
        self.counts.failed.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(reason, "job rejected: its message was not published");
        transaction.roll_back().await;
        Err(ApiError::Unavailable)
    }
}
