//! The invalidations of the last seconds, to be repeated on a new connection.
//!
//! Replication is asynchronous: a replica that is promoted may lack the last writes, among them
//! confirmed fences and invalidations, and hold the value from before. Whether a new connection
//! leads to such a server cannot be detected reliably (an identity may be hidden, or be the old one
//! after two failovers), so every new connection counts as one.

use std::collections::VecDeque;
use std::time::Duration;

use crate::seams::Instant;

/// The longest replication lag of a promoted replica after which no value is stale.
pub(crate) const WINDOW: Duration = Duration::from_secs(10);
/// The most invalidations that are kept.
const MAX_RECENT: usize = 10_000;

/// A confirmed invalidation.
pub(super) struct Recent {
    pub(super) key: String,
    /// The longest that an entry may stay in the shared level.
    pub(super) lifetime: Duration,
    confirmed: Instant,
}

/// The recent invalidations, in order.
pub(super) struct RecentInvalidations {
    window: Duration,
    queue: VecDeque<Recent>,
    /// The last time that an invalidation was dropped for want of space, and its lifetime.
    dropped: Option<(Instant, Duration)>,
}

impl RecentInvalidations {
    pub(super) fn new(window: Duration) -> Self {
        Self {
            window,
            queue: VecDeque::new(),
            dropped: None,
        }
    }

    pub(super) fn window(&self) -> Duration {
        self.window
    }

    pub(super) fn record(&mut self, key: &str, lifetime: Duration, now: Instant) {
        self.expire(now);
        if self.queue.len() < MAX_RECENT {
            let key = key.to_owned();
            self.queue.push_back(Recent {
                key,
                lifetime,
                confirmed: now,
            });
        } else {
            self.dropped = Some((now, lifetime));
        }
    }

    /// Removes and returns what was confirmed within the window before a connection was lost. The
    /// duration is that of which all keys must be bypassed, if an invalidation was dropped.
    pub(super) fn take(&mut self, lost: Instant) -> (VecDeque<Recent>, Option<Duration>) {
        self.expire(lost);
        let dropped = self
            .dropped
            .take()
            .filter(|(at, _)| *at + self.window >= lost);
        (
            std::mem::take(&mut self.queue),
            dropped.map(|(_, lifetime)| lifetime),
        )
    }

    /// Removes and returns what was confirmed within the window before now, of some keys.
    pub(super) fn take_of(&mut self, is_meant: impl Fn(&str) -> bool) -> VecDeque<Recent> {
        self.expire(Instant::now());
        let queue = std::mem::take(&mut self.queue);
        let (taken, rest) = queue.into_iter().partition(|recent| is_meant(&recent.key));
        self.queue = rest;
        taken
    }

    fn expire(&mut self, now: Instant) {
        while self
            .queue
            .front()
            .is_some_and(|oldest| oldest.confirmed + self.window < now)
        {
            self.queue.pop_front();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const LIFETIME: Duration = Duration::from_secs(65);

    fn keys(recent: VecDeque<Recent>) -> Vec<String> {
        recent.into_iter().map(|recent| recent.key).collect()
    }

    #[test]
    fn what_was_confirmed_within_the_window_before_the_loss_is_taken_once() {
        let (mut recent, began) = (RecentInvalidations::new(WINDOW), Instant::now());
        recent.record("old", LIFETIME, began);
        recent.record("new", LIFETIME, began + Duration::from_secs(1));
        let lost = began + WINDOW + Duration::from_millis(1);
        let (taken, dropped) = recent.take(lost);
        assert_eq!((keys(taken), dropped), (vec!["new".to_owned()], None));
        assert!(recent.take(lost).0.is_empty());
    }

    #[test]
    fn what_was_confirmed_of_some_keys_is_taken_once() {
        let (mut recent, now) = (RecentInvalidations::new(WINDOW), Instant::now());
        recent.record("a", LIFETIME, now);
        recent.record("b", LIFETIME, now);
        assert_eq!(keys(recent.take_of(|key| key == "a")), ["a"]);
        assert!(recent.take_of(|key| key == "a").is_empty());
        assert_eq!(keys(recent.take(now).0), ["b"]);
    }

    #[test]
    fn beyond_the_limit_the_loss_of_invalidations_is_reported() {
        let (mut recent, now) = (RecentInvalidations::new(WINDOW), Instant::now());
        for i in 0..=MAX_RECENT {
            recent.record(&i.to_string(), LIFETIME, now);
        }
        let (taken, dropped) = recent.take(now);
        assert_eq!((taken.len(), dropped), (MAX_RECENT, Some(LIFETIME)));
    }
}
