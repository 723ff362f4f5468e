//! Commands that were not confirmed by the shared level and must be retried.
//!
//! * An **invalidation**. Until it succeeds, the shared level may hold a value older than the
//!   write, so this replica bypasses it for that key.
//! * The **release** of a lease that may have been acquired. It only affects latency: until the
//!   lease expires, readers of its key wait for a value that nobody loads.
//!
//! The reconnect loop (at every heartbeat, too) and the tracker flush it before a connection is used.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::connection::{CommandError, Connection};
use crate::protocol::marker::{FenceToken, Lease};
use crate::seams::Instant;
use crate::seams::{RandomState, mutant};
use crate::sync::{Mutex, lock};
use crate::write::recent::{Recent, RecentInvalidations};
use crate::write::refused::Refusals;

/// The most keys in the queue. Beyond it, all keys are bypassed until every entry that the
/// shared level held at that time has expired.
const MAX_INVALIDATIONS: usize = 10_000;
/// The most releases in the queue. Further leases are left to expire.
const MAX_RELEASES: usize = 1_000;
/// Invalidations that are sent in one pipeline.
const BATCH: usize = 500;

/// The queue of commands to retry.
pub(crate) struct PendingInvalidations {
    queue: Mutex<Queue>,
    /// The number of queued invalidations, to be read without the lock before every fetch.
    count: AtomicUsize,
    /// Whether `queue.all_until` is set, likewise.
    all: AtomicBool,
    recent: Mutex<RecentInvalidations>,
    refusals: Mutex<Refusals>,
}

#[derive(Default)]
struct Queue {
    invalidations: HashMap<String, Invalidation, RandomState>,
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
    /// The longest that an entry may stay in the shared level.
    lifetime: Duration,
    /// The end of the lifetime of every entry from before.
    until: Instant,
}

impl PendingInvalidations {
    /// `window` is the longest replication lag of a promoted replica after which no value is stale.
    pub(crate) fn new(window: Duration) -> Self {
        Self {
            queue: Mutex::default(),
            count: AtomicUsize::new(0),
            all: AtomicBool::new(false),
            recent: Mutex::new(RecentInvalidations::new(window)),
            refusals: Mutex::default(),
        }
    }

    /// The longest replication lag of a promoted replica after which no value is stale.
    pub(crate) fn window(&self) -> Duration {
        lock(&self.recent).window()
    }

    /// The number of keys with a queued invalidation.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Whether the shared level must be bypassed for this key.
    pub(crate) fn contains(&self, key: &str) -> bool {
        mutant!(PendingNotBypassed => return false);
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
        let (serial, until) = (queue.next_serial, Instant::now() + lifetime);
        let mut invalidation = Invalidation {
            own,
            serial,
            lifetime,
            until,
        };
        if let Some(queued) = queue.invalidations.get_mut(key) {
            // An unconfirmed fence does not replace a confirmed one.
            invalidation.own = invalidation.own.or_else(|| queued.own.take());
            *queued = invalidation;
        } else if queue.invalidations.len() < MAX_INVALIDATIONS {
            queue.invalidations.insert(key.to_owned(), invalidation);
        } else {
            queue.all_until = Some(until);
        }
        self.publish(&queue);
    }

    /// Records an invalidation that was confirmed, to be repeated on the next connection.
    pub(crate) fn confirmed(&self, key: &str, lifetime: Duration) {
        mutant!(InvalidationNotKept => return);
        lock(&self.recent).record(key, lifetime, Instant::now());
    }

    /// Queues the recent invalidations again, for a new connection after one that was lost.
    pub(crate) fn enqueue_recent(&self, lost: Instant) {
        let (recent, dropped) = lock(&self.recent).take(lost);
        self.enqueue_all(recent);
        if let Some(lifetime) = dropped {
            let mut queue = lock(&self.queue);
            queue.all_until = Some(Instant::now() + lifetime);
            self.publish(&queue);
        }
    }

    /// Queues the recent invalidations of some keys again, since another server has these now.
    pub(crate) fn enqueue_recent_of(&self, is_meant: impl Fn(&str) -> bool) {
        let recent = lock(&self.recent).take_of(is_meant);
        self.enqueue_all(recent);
    }

    fn enqueue_all(&self, recent: VecDeque<Recent>) {
        for Recent { key, lifetime, .. } in recent {
            self.enqueue(&key, None, lifetime);
        }
    }

    /// Queues the release of a lease of unknown outcome.
    pub(crate) fn enqueue_release(&self, key: &str, lease: Lease) {
        let mut queue = lock(&self.queue);
        if queue.releases.len() < MAX_RELEASES {
            queue.releases.push((key.to_owned(), lease));
        }
    }

    /// Retries everything about the keys that the server has, until it does not reply. A command that it refuses stays
    /// queued until its lifetime ends, and the next ones are retried all the same.
    pub(crate) async fn flush(
        &self,
        connection: &Connection,
        owns: impl Fn(&str) -> bool,
        limit: Duration,
    ) -> Result<(), CommandError> {
        mutant!(PendingDropped => lock(&self.queue).invalidations.clear());
        self.expire();
        let queued = lock(&self.queue).releases.clone();
        for (key, lease) in queued.into_iter().filter(|(key, _)| owns(key)) {
            self.is_executed(connection.release(&key, &lease, limit).await)?;
            let mut queue = lock(&self.queue);
            queue.releases.retain(|(_, queued)| *queued != lease);
        }
        let invalidations: Vec<(String, Invalidation)> = lock(&self.queue)
            .invalidations
            .iter()
            .filter(|(key, _)| owns(key))
            .map(|(key, invalidation)| (key.clone(), invalidation.clone()))
            .collect();
        for batch in invalidations.chunks(BATCH) {
            let commands = batch
                .iter()
                .map(|(key, invalidation)| (key.as_str(), invalidation.own.as_ref()));
            let replies = connection.invalidate_all(commands, limit).await;
            for ((key, invalidation), reply) in batch.iter().zip(replies) {
                // Finding another writer's fence counts: that writer will invalidate the key.
                if self.is_executed(reply)? {
                    self.remove(key, invalidation.serial);
                    self.confirmed(key, invalidation.lifetime);
                }
            }
        }
        Ok(())
    }

    /// Whether the command was executed or refused; the error if that is unknown.
    fn is_executed(&self, reply: Result<bool, CommandError>) -> Result<bool, CommandError> {
        match reply {
            Ok(_) => Ok(true),
            Err(CommandError::Server(error)) => {
                lock(&self.refusals).record(&error);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn remove(&self, key: &str, serial: u64) {
        let mut queue = lock(&self.queue);
        mutant!(LaterInvalidationDropped => queue.invalidations.remove(key); self.publish(&queue); return);
        let queued = queue.invalidations.get(key);
        if queued.is_some_and(|queued| queued.serial == serial) {
            queue.invalidations.remove(key);
        }
        self.publish(&queue);
    }

    fn expire(&self) {
        let mut queue = lock(&self.queue);
        let now = Instant::now();
        queue.all_until = queue.all_until.filter(|until| now < *until);
        queue.invalidations.retain(|_, queued| now < queued.until);
        self.publish(&queue);
    }

    fn publish(&self, queue: &Queue) {
        self.count
            .store(queue.invalidations.len(), Ordering::Release);
        self.all.store(queue.all_until.is_some(), Ordering::Release);
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
