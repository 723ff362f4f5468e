//! Numbers about what the cache does.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A count that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn one(&self) {
        self.add(1);
    }

    /// Counts one, and says how many there were before.
    pub(crate) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! class_stats {
    ($($(#[$doc:meta])+ $name:ident),+ $(,)?) => {
        #[derive(Debug, Default)]
        pub(crate) struct Counters { $(pub(crate) $name: Counter),+ }

        /// What one class of keys has done since the start.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct NamespaceStats {
            /// The name of the class.
            pub name: &'static str,
            $($(#[$doc])+ pub $name: u64),+
        }

        impl Counters {
            pub(crate) fn snapshot(&self, name: &'static str) -> NamespaceStats {
                NamespaceStats { name, $($name: self.$name.get()),+ }
            }
        }
    };
}

class_stats! {
    /// Requests.
    requests,
    /// Requests answered from the memory of this process.
    local_hits,
    /// Requests answered with a value of the shared level.
    hits,
    /// Requests that found a flight of their key under way, and waited for the next.
    queued,
    /// Requests answered with a last known value, because the origin was away.
    stale,
    /// Values that were loaded anew before their time had come, because they were in use.
    refreshes,
    /// Those that were not stored, because the key had changed meanwhile.
    refreshes_refused,
    /// Answers from memory that were compared with what the origin had.
    samples,
    /// Those that were found to be out of date.
    samples_stale,
    /// Entries of the shared level that were found to be older than the origin, after a write,
    /// and were invalidated.
    stale_after_write,
    /// Flights: a request starts one or waits for one, so requests that shared theirs with
    /// others are the difference.
    fetches,
    /// Calls of a loader.
    loads,
    /// Calls of a loader that failed or panicked.
    load_failures,
    /// Loaded values that went into the shared level.
    fills,
    /// Loaded values that did not, because a write or a newer lease had come between.
    fills_refused,
    /// Entries of the shared level that could not be used: not decodable, or of the wrong type.
    rejected,
    /// Flights that met a lease of somebody else.
    leases_met,
    /// Flights that met a fence.
    fences_met,
    /// Flights that went past the shared level because it was away or did not answer.
    bypassed_unavailable,
    /// Flights that went past the shared level because an invalidation of the key was owed.
    bypassed_pending,
    /// Writes that raised a fence.
    writes,
    /// Writes whose fence was not acknowledged.
    fences_unconfirmed,
    /// Invalidations of a key that could not be confirmed at once, and so came to be owed.
    invalidations_queued,
}

/// The state of the way to the shared level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedLevel {
    /// There is none by configuration.
    Off,
    /// In use.
    Up,
    /// Away: nobody asks it until the background task has found it well.
    Down,
}

/// The connection that tells of changes in the shared level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracking {
    /// There is none by configuration.
    Off,
    /// It tells, and has for so long.
    Up(Duration),
    /// It is away: nothing in memory that others can change is used.
    Down,
}

/// The numbers of a [`Cache`](crate::Cache), taken one by one while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStats {
    /// Whether the shared level is in use.
    pub shared_level: SharedLevel,
    /// How often the breaker has opened.
    pub breaker_openings: u64,
    /// Keys whose invalidation is owed to the shared level now.
    pub pending_invalidations: usize,
    /// Whether values are kept in memory, and how the connection is that tells of changes.
    pub tracking: Tracking,
    /// What the values in memory take, in bytes.
    pub local_bytes: u64,
    /// How many there are.
    pub local_entries: usize,
    /// Each class, in the order in which they were made.
    pub namespaces: Vec<NamespaceStats>,
}
