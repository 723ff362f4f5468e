//! Commands that were not confirmed by the shared level and must be retried.
//!
//! * An **invalidation**. Until it succeeds, the shared level may hold a value older than the
//!   write, so this replica bypasses it for that key.
//! * The **release** of a lease that may have been acquired. It only affects latency: until the
//!   lease expires, readers of its key wait for a value that nobody loads.
//!
//! The reconnect loop and the tracker flush the queue before a new connection is used, and the
//! reconnect loop at every heartbeat.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::connection::{CommandError, Connection};
use crate::protocol::marker::{FenceToken, Lease};
use crate::sync::{Mutex, lock};

/// The most keys in the queue. Beyond it, all keys are bypassed until every entry that the
/// shared level held at that time has expired.
const MAX_INVALIDATIONS: usize = 10_000;
/// The most releases in the queue. Further leases are left to expire.
const MAX_RELEASES: usize = 1_000;

/// The queue of commands to retry.
#[derive(Default)]
pub(crate) struct PendingInvalidations {
    queue: Mutex<Queue>,
    /// The number of queued invalidations, to be read without the lock before every fetch.
    count: AtomicUsize,
    /// Whether `queue.all_until` is set, likewise.
    all: AtomicBool,
}

#[derive(Default)]
struct Queue {
    invalidations: HashMap<String, Invalidation>,
    releases: Vec<(String, Lease)>,
    next_serial: u64,
    all_until: Option<Instant>,
}

#[derive(Clone)]
struct Invalidation {
    /// The last fence of this replica on the key that was confirmed.
    own: Option<FenceToken>,
    /// Distinguishes it from one that is queued for the same key during a flush.
    serial: u64,
}

impl PendingInvalidations {
    /// The number of keys with a queued invalidation.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Whether the shared level must be bypassed for this key.
    pub(crate) fn contains(&self, key: &str) -> bool {
        if self.count() == 0 && !self.all.load(Ordering::Acquire) {
            return false;
        }
        let queue = lock(&self.queue);
        queue.all_until.is_some() || queue.invalidations.contains_key(key)
    }

    /// Queues an invalidation. `lifetime` is the longest that an entry may stay in the shared
    /// level.
    pub(crate) fn enqueue(&self, key: &str, own: Option<FenceToken>, lifetime: Duration) {
        let mut queue = lock(&self.queue);
        queue.next_serial += 1;
        let serial = queue.next_serial;
        if let Some(invalidation) = queue.invalidations.get_mut(key) {
            // An unconfirmed fence does not replace a confirmed one.
            let own = own.or_else(|| invalidation.own.take());
            *invalidation = Invalidation { own, serial };
        } else if queue.invalidations.len() < MAX_INVALIDATIONS {
            let invalidation = Invalidation { own, serial };
            queue.invalidations.insert(key.to_owned(), invalidation);
        } else {
            queue.all_until = Some(Instant::now() + lifetime);
        }
        self.publish(&queue);
    }

    /// Queues the release of a lease of unknown outcome.
    pub(crate) fn enqueue_release(&self, key: &str, lease: Lease) {
        let mut queue = lock(&self.queue);
        if queue.releases.len() < MAX_RELEASES {
            queue.releases.push((key.to_owned(), lease));
        }
    }

    /// Retries everything, until the server does not reply. A command that it refuses stays
    /// queued, and the next ones are retried all the same.
    pub(crate) async fn flush(
        &self,
        connection: &Connection,
        limit: Duration,
    ) -> Result<(), CommandError> {
        self.expire();
        let releases = std::mem::take(&mut lock(&self.queue).releases);
        for (key, lease) in releases {
            is_executed(connection.release(&key, &lease, limit).await)?;
        }
        let invalidations: Vec<(String, Invalidation)> = lock(&self.queue)
            .invalidations
            .iter()
            .map(|(key, invalidation)| (key.clone(), invalidation.clone()))
            .collect();
        for (key, Invalidation { own, serial }) in invalidations {
            // Finding another writer's fence counts: that writer will invalidate the key.
            if is_executed(connection.invalidate(&key, own.as_ref(), limit).await)? {
                self.remove(&key, serial);
            }
        }
        Ok(())
    }

    fn remove(&self, key: &str, serial: u64) {
        let mut queue = lock(&self.queue);
        let queued = queue.invalidations.get(key);
        if queued.is_some_and(|queued| queued.serial == serial) {
            queue.invalidations.remove(key);
        }
        self.publish(&queue);
    }

    fn expire(&self) {
        let mut queue = lock(&self.queue);
        queue.all_until = queue.all_until.filter(|until| Instant::now() < *until);
        self.publish(&queue);
    }

    fn publish(&self, queue: &Queue) {
        self.count
            .store(queue.invalidations.len(), Ordering::Release);
        self.all.store(queue.all_until.is_some(), Ordering::Release);
    }
}

/// Whether the command was executed or refused; the error if that is unknown.
fn is_executed(reply: Result<bool, CommandError>) -> Result<bool, CommandError> {
    match reply {
        Ok(_) => Ok(true),
        Err(CommandError::Server(error)) => {
            tracing::warn!(%error, "Valkey refused a pending command: it stays queued");
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const LIFETIME: Duration = Duration::from_secs(65);

    #[test]
    fn only_queued_keys_are_bypassed() {
        let pending = PendingInvalidations::default();
        assert!(!pending.contains("a"));
        pending.enqueue("a", None, LIFETIME);
        assert!(pending.contains("a") && !pending.contains("b"));
        assert_eq!(pending.count(), 1);
    }

    #[test]
    fn a_confirmed_fence_is_kept_when_a_later_one_is_not_confirmed() {
        let pending = PendingInvalidations::default();
        let own = FenceToken::new();
        pending.enqueue("a", Some(own.clone()), LIFETIME);
        pending.enqueue("a", None, LIFETIME);
        assert!(lock(&pending.queue).invalidations["a"].own == Some(own));
    }

    #[test]
    fn an_invalidation_queued_during_a_flush_stays_queued() {
        let pending = PendingInvalidations::default();
        pending.enqueue("a", None, LIFETIME);
        let flushed = lock(&pending.queue).invalidations["a"].serial;
        pending.enqueue("a", None, LIFETIME);
        pending.remove("a", flushed);
        assert!(pending.contains("a"));
        let flushed = lock(&pending.queue).invalidations["a"].serial;
        pending.remove("a", flushed);
        assert!(!pending.contains("a"));
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_the_limit_all_keys_are_bypassed_until_their_entries_have_expired() {
        let pending = PendingInvalidations::default();
        for i in 0..=MAX_INVALIDATIONS {
            pending.enqueue(&i.to_string(), None, LIFETIME);
        }
        assert_eq!(pending.count(), MAX_INVALIDATIONS);
        assert!(pending.contains("another"));
        pending.expire();
        assert!(pending.contains("another"));
        tokio::time::advance(LIFETIME).await;
        pending.expire();
        assert!(!pending.contains("another") && pending.contains("0"));
    }

    #[test]
    fn queued_releases_are_bounded() {
        let pending = PendingInvalidations::default();
        for _ in 0..=MAX_RELEASES {
            pending.enqueue_release("a", Lease::new());
        }
        assert_eq!(lock(&pending.queue).releases.len(), MAX_RELEASES);
    }
}
