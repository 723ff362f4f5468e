//! The log of the pending commands that Valkey refuses.

use std::time::Duration;

use redis::RedisError;

use crate::seams::Instant;

/// The interval between log messages.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Refused commands since the last log message.
#[derive(Default)]
pub(super) struct Refusals {
    count: u64,
    logged: Option<Instant>,
}

impl Refusals {
    /// Counts a refused command, and logs the count if that is due.
    pub(super) fn record(&mut self, error: &RedisError) {
        self.count += 1;
        let is_due = |logged: Instant| logged.elapsed() >= LOG_INTERVAL;
        if self.logged.is_none_or(is_due) {
            let count = std::mem::take(&mut self.count);
            self.logged = Some(Instant::now());
            tracing::warn!(%error, count, "Valkey refuses pending commands: keys bypassed until their TTL");
        }
    }
}
