//! Invalidation of cached reads by the change feed: for changes of instruments by other clients.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::task::AbortHandle;

use crate::cached::Cached;
use crate::cached::instruments::InstrumentCaches;
use crate::observe::HealthSnapshot;
use crate::store::{Change, ChangeFeed, ChangeFeedCounters, ChangeFeedStats};

/// The number of instruments that are invalidated concurrently.
const CONCURRENCY: usize = 16;

/// The task that follows the change feed; dropping this ends it.
pub(super) struct Follower {
    counters: Arc<ChangeFeedCounters>,
    task: AbortHandle,
}

impl Follower {
    pub(super) fn start(feed: ChangeFeed, caches: InstrumentCaches) -> Self {
        Self {
            counters: feed.counters(),
            task: tokio::spawn(follow(feed, caches)).abort_handle(),
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Coalesces a burst: each changed instrument and the list are invalidated once. After a
/// reconnect the changed instruments are unknown: only the list is invalidated, and other changes
/// become visible when their TTL expires.
async fn follow(mut feed: ChangeFeed, caches: InstrumentCaches) {
    loop {
        let changes = feed.next().await;
        if changes.is_empty() {
            return;
        }
        let named = changes.into_iter().filter_map(|change| match change {
            Change::Instrument(name) => Some(name),
            Change::Unknown => None,
        });
        let names: HashSet<String> = named.collect();
        let names: Vec<String> = names.into_iter().collect();
        caches.invalidate_list().await;
        for chunk in names.chunks(CONCURRENCY) {
            join_all(chunk.iter().map(|name| caches.invalidate_columns(name))).await;
        }
    }
}

impl Cached {
    /// Whether the change feed is connected, since when, and its last failure; `None` without one.
    #[must_use]
    pub fn change_feed_health(&self) -> Option<HealthSnapshot> {
        Some(self.follower.as_ref()?.counters.health())
    }

    /// The state of the change feed; `None` without one.
    #[must_use]
    pub fn change_feed(&self) -> Option<ChangeFeedStats> {
        Some(self.follower.as_ref()?.counters.stats())
    }
}
