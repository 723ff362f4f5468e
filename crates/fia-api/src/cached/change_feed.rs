//! What is invalidated when others have changed an instrument, as far as the database tells.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::task::AbortHandle;

use crate::cached::Cached;
use crate::cached::instruments::InstrumentCaches;
use crate::store::{Change, ChangeFeed, ChangeFeedCounters, ChangeFeedStats};

/// How many instruments are invalidated at once.
const AT_ONCE: usize = 16;

/// The task that follows the change feed; it ends with this.
pub(super) struct Follower {
    counts: Arc<ChangeFeedCounters>,
    task: AbortHandle,
}

impl Follower {
    pub(super) fn start(feed: ChangeFeed, classes: InstrumentCaches) -> Self {
        Self {
            counts: feed.counts(),
            task: tokio::spawn(follow(feed, classes)).abort_handle(),
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A burst of changes is one to each instrument, and one to the list. What was changed while the
/// feed was away is not known by name: but for the list, it shows when its time to live ends.
async fn follow(mut feed: ChangeFeed, classes: InstrumentCaches) {
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
        classes.invalidate_list().await;
        for some in names.chunks(AT_ONCE) {
            join_all(some.iter().map(|name| classes.invalidate_fields(name))).await;
        }
    }
}

impl Cached {
    /// How the change feed is; `None` without one.
    #[must_use]
    pub fn feed(&self) -> Option<ChangeFeedStats> {
        Some(self.follower.as_ref()?.counts.statistics())
    }
}
