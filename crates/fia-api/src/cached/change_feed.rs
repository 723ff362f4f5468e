//! Invalidation of cached reads by the change feed: for changes of instruments and jobs by other
//! clients.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use crate::cached::instruments::InstrumentCaches;
use crate::cached::{Cached, JobGroups};
use crate::observe::HealthSnapshot;
use crate::store::{Change, ChangeFeed, ChangeFeedCounters, ChangeFeedStats};

/// The number of instruments that are invalidated concurrently.
const CONCURRENCY: usize = 16;
/// The shortest interval between invalidations of lists of jobs.
const JOBS_INTERVAL: Duration = Duration::from_millis(50);

/// The task that follows the change feed; dropping this ends it.
pub(super) struct Follower {
    counters: Arc<ChangeFeedCounters>,
    task: AbortHandle,
}

impl Follower {
    pub(super) fn start(feed: ChangeFeed, caches: (InstrumentCaches, JobGroups)) -> Self {
        let counters = feed.counters();
        let (instruments, groups) = caches;
        let jobs = ChangedJobs::new(groups);
        Self {
            counters,
            task: tokio::spawn(follow(feed, instruments, jobs)).abort_handle(),
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(mut feed: ChangeFeed, instruments: InstrumentCaches, mut jobs: ChangedJobs) {
    loop {
        let changes = tokio::select! {
            changes = feed.next() => changes,
            () = sleep_until(jobs.due), if jobs.is_changed() => {
                jobs.invalidate().await;
                continue;
            }
        };
        if changes.is_empty() {
            return;
        }
        for change in &changes {
            jobs.add(change);
        }
        invalidate_instruments(&instruments, changes).await;
    }
}

/// Coalesces a burst: each changed instrument and the list are invalidated once. After a
/// reconnect the changed instruments are unknown: only the list is invalidated, and other changes
/// become visible when their TTL expires.
async fn invalidate_instruments(caches: &InstrumentCaches, changes: Vec<Change>) {
    let mut is_list_changed = false;
    let mut names = HashSet::new();
    for change in changes {
        match change {
            Change::Instrument(name) => {
                names.insert(name);
            }
            Change::AnyInstrument | Change::Unknown => {}
            Change::Jobs(_) | Change::AnyJobs => continue,
        }
        is_list_changed = true;
    }
    if is_list_changed {
        caches.invalidate_list().await;
    }
    let names: Vec<String> = names.into_iter().collect();
    for chunk in names.chunks(CONCURRENCY) {
        join_all(chunk.iter().map(|name| caches.invalidate_columns(name))).await;
    }
}

/// The instruments whose jobs have changed since their lists were invalidated.
struct ChangedJobs {
    groups: JobGroups,
    names: HashSet<String>,
    /// Whether jobs of any instrument may have changed.
    any: bool,
    /// From when on they may be invalidated again.
    due: Instant,
}

impl ChangedJobs {
    fn new(groups: JobGroups) -> Self {
        Self {
            groups,
            names: HashSet::new(),
            any: false,
            due: Instant::now(),
        }
    }

    fn add(&mut self, change: &Change) {
        match change {
            Change::Jobs(name) => {
                self.names.insert(name.clone());
            }
            Change::AnyJobs | Change::Unknown => self.any = true,
            Change::Instrument(_) | Change::AnyInstrument => {}
        }
    }

    fn is_changed(&self) -> bool {
        self.any || !self.names.is_empty()
    }

    async fn invalidate(&mut self) {
        let begun = Instant::now();
        let names: Vec<String> = self.names.drain().collect();
        if std::mem::take(&mut self.any) {
            self.groups.invalidate_every().await;
        } else {
            self.groups.invalidate_all_instruments().await;
            for chunk in names.chunks(CONCURRENCY) {
                join_all(chunk.iter().map(|name| self.groups.invalidate(name))).await;
            }
        }
        // To find every group takes longer, the more keys there are.
        self.due = begun + JOBS_INTERVAL.max(begun.elapsed() * 4);
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
