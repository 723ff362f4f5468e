//! Messages that the broker refuses: retried with a backoff, then parked.

use std::time::Duration;

use crate::broker::Backoff;
use crate::store::Db;
use crate::store::outbox::{self, AfterRefusal, Claimed};

/// The backoff between attempts: the broker's limit may be raised meanwhile.
const BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(8));
/// The attempts after which a message is parked, about 15 s after the first.
const MAX_ATTEMPTS: u32 = 5;

/// A message that the broker refused.
pub(super) struct Refusal {
    pub(super) claimed: Claimed,
    /// The broker's reason.
    pub(super) error: String,
}

impl Refusal {
    /// Records the refusal, and logs it if the message is parked.
    pub(super) async fn store(self, db: &Db, session: Option<i64>) {
        let Claimed { id, message, .. } = &self.claimed;
        let attempts = self.claimed.attempts.saturating_add(1);
        let after = if attempts < MAX_ATTEMPTS {
            AfterRefusal::Retry(BACKOFF.delay(attempts))
        } else {
            AfterRefusal::Park
        };
        if let Err(error) = outbox::refuse(db, *id, session, &self.error, after).await {
            tracing::debug!(%error, message_id = id, "recording a refused message failed: it is retried when its claim ends");
        } else if after == AfterRefusal::Park {
            tracing::error!(
                message_id = id,
                exchange = message.queue,
                job = message.job_id(),
                bytes = message.body.len(),
                attempts,
                error = self.error,
                "message parked: RabbitMQ refuses it; see `fia-api outbox list`"
            );
        } else {
            tracing::debug!(
                message_id = id,
                attempts,
                error = self.error,
                "message refused by RabbitMQ: retrying with backoff"
            );
        }
    }
}
