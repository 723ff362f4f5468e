//! The queues that cannot be used at present: their failures are backed off, and logged once.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::broker::{Backoff, BrokerError};

/// The backoff of declarations and publications to a queue that failed.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));

/// The failing queues, shared by all connections of a client: a new connection does not retry
/// sooner.
#[derive(Default)]
pub(super) struct Queues(Mutex<HashMap<String, Failing>>);

struct Failing {
    reason: String,
    failures: u32,
    since: Instant,
    retry_at: Instant,
}

impl Queues {
    /// Fails while the queue is backed off.
    pub(super) fn check(&self, queue: &str) -> Result<(), BrokerError> {
        match self.0.lock().get(queue) {
            Some(failing) if Instant::now() < failing.retry_at => {
                Err(BrokerError::Queue(failing.reason.clone()))
            }
            _ => Ok(()),
        }
    }

    /// The queues that are backed off.
    pub(super) fn backed_off(&self) -> Vec<String> {
        let now = Instant::now();
        let failing = self.0.lock();
        let backed_off = failing.iter().filter(|(_, failing)| now < failing.retry_at);
        backed_off.map(|(queue, _)| queue.clone()).collect()
    }

    /// Records a failure and returns its error. It is logged when the queue or the reason is new.
    pub(super) fn failed(&self, queue: &str, reason: String) -> BrokerError {
        let now = Instant::now();
        let mut queues = self.0.lock();
        let failing = queues.entry(queue.to_owned()).or_insert_with(|| Failing {
            reason: String::new(),
            failures: 0,
            since: now,
            retry_at: now,
        });
        // Publications in flight at the same time fail together, and count once.
        if now >= failing.retry_at || failing.reason != reason {
            failing.failures = failing.failures.saturating_add(1);
            failing.retry_at = now + BACKOFF.delay(failing.failures);
        }
        if failing.reason != reason {
            tracing::warn!(
                queue,
                reason,
                "queue unusable: its messages wait, retrying with backoff"
            );
            failing.reason.clone_from(&reason);
        }
        BrokerError::Queue(reason)
    }

    /// Records a delivery, which ends the backoff.
    pub(super) fn delivered(&self, queue: &str) {
        let failing = self.0.lock().remove(queue);
        if let Some(failing) = failing {
            tracing::info!(
                queue,
                failures = failing.failures,
                unusable_seconds = failing.since.elapsed().as_secs(),
                "queue usable again: its messages are published"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Seek as _;

    use super::*;

    #[test]
    fn failures_are_backed_off_until_a_delivery() {
        let queues = Queues::default();
        assert!(queues.check("jobs").is_ok());
        for _ in 0..100 {
            queues.failed("jobs", "405".to_owned());
        }
        assert_eq!(queues.0.lock()["jobs"].failures, 1);
        assert!(matches!(queues.check("jobs"), Err(BrokerError::Queue(_))));
        assert!(queues.check("watched-files").is_ok());
        assert_eq!(queues.backed_off(), ["jobs"]);
        queues.delivered("jobs");
        assert!(queues.check("jobs").is_ok());
        assert!(queues.backed_off().is_empty());
    }

    /// The log of some work on this thread.
    fn log_of(work: impl FnOnce()) -> String {
        let mut file = tempfile::tempfile().unwrap();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(std::sync::Mutex::new(file.try_clone().unwrap()))
            .finish();
        tracing::subscriber::with_default(subscriber, work);
        file.rewind().unwrap();
        std::io::read_to_string(file).unwrap()
    }

    #[test]
    fn a_failure_is_logged_when_its_reason_changes_and_when_it_ends() {
        let queues = Queues::default();
        let log = log_of(|| {
            for _ in 0..100 {
                queues.failed("jobs", "406 PRECONDITION_FAILED".to_owned());
            }
            queues.failed("jobs", "403 ACCESS_REFUSED".to_owned());
            queues.delivered("jobs");
            queues.delivered("jobs");
        });
        assert_eq!(log.matches("queue unusable").count(), 2, "{log}");
        assert_eq!(log.matches("queue usable again").count(), 1, "{log}");
        assert!(log.contains("failures=2"), "{log}");
    }
}
