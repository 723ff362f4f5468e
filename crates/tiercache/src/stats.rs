//! Counters and gauges of a cache.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A monotonic counter.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn one(&self) {
        self.add(1);
    }

    /// Counts one, and returns the count before.
    #[inline]
    pub(crate) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! namespace_stats {
    ($($(#[$doc:meta])+ $name:ident),+ $(,)?) => {
        #[derive(Debug, Default)]
        pub(crate) struct Counters { $(pub(crate) $name: Counter),+ }

        /// Counters of a namespace since the start.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct NamespaceStats {
            /// The name of the namespace.
            pub name: Arc<str>,
            $($(#[$doc])+ pub $name: u64),+
        }

        impl Counters {
            pub(crate) fn snapshot(&self, name: Arc<str>) -> NamespaceStats {
                let mut stats = NamespaceStats { name, $($name: self.$name.get()),+ };
                // A local hit counts itself only.
                stats.requests += stats.local_hits;
                stats
            }
        }
    };
}

namespace_stats! {
    /// Reads.
    requests,
    /// Reads served from the local cache.
    local_hits,
    /// Reads served from the shared level.
    hits,
    /// Reads that waited because a fetch of their key was in flight.
    queued,
    /// Reads served with a last known value because the origin was unavailable.
    stale,
    /// Early refreshes started.
    refreshes,
    /// Early refreshes that were not stored because the key had changed, or that failed.
    refreshes_refused,
    /// Local hits that were compared with the origin.
    samples,
    /// Samples that were stale.
    samples_stale,
    /// Entries of the shared level that were older than the origin after a write, and were
    /// invalidated.
    stale_after_write,
    /// Fetches, each for all of its admitted waiters.
    fetches,
    /// Loader calls.
    loads,
    /// Loader calls that failed or panicked.
    load_failures,
    /// Loaded values that were stored in the shared level.
    fills,
    /// Loaded values that were not stored because of a write or another lease.
    fills_refused,
    /// Loaded values that were not stored because their payload was too large.
    oversized,
    /// Loaded values that the codec could not encode.
    encode_failures,
    /// Entries of the shared level that were rejected: invalid payload, or wrong type.
    rejected,
    /// Entries of the shared level that were not current in their group, since a write of the group
    /// or because another program had stored them.
    outdated,
    /// Fetches that found the lease of another process.
    leases_met,
    /// Fetches that found a fence, on their key or on its group.
    fences_met,
    /// Fetches that bypassed the shared level because it was unavailable.
    bypassed_unavailable,
    /// Fetches that bypassed the shared level because an invalidation of the key or of its
    /// group was pending.
    bypassed_pending,
    /// Writes that raised a fence.
    writes,
    /// Values that were stored by the writes that committed them.
    puts,
    /// Writes whose fence was not confirmed.
    fences_unconfirmed,
    /// Writes whose fence had not reached the [required](crate::CacheBuilder::wait_replicas) number
    /// of replicas in time.
    fences_unreplicated,
    /// Invalidations that were not confirmed at once, and were queued.
    invalidations_queued,
}

/// The availability of the shared level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedLevel {
    /// None is configured.
    Off,
    /// Available.
    Up,
    /// Unavailable: the circuit breaker is open until a background reconnect succeeds.
    Down,
}

/// The state of client tracking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracking {
    /// No namespace needs it.
    Off,
    /// Established, for this long.
    Up(Duration),
    /// Interrupted: local entries of shared namespaces are bypassed.
    Down,
}

/// The statistics of a [`Cache`](crate::Cache). Not a consistent snapshot: each value is read
/// separately.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStats {
    /// The availability of the shared level.
    pub shared_level: SharedLevel,
    /// The number of times that the circuit breaker has opened.
    pub breaker_openings: u64,
    /// Keys and namespaces with a pending invalidation.
    pub pending_invalidations: usize,
    /// The state of client tracking.
    pub tracking: Tracking,
    /// The size of the local cache in bytes.
    pub local_bytes: u64,
    /// The number of local entries.
    pub local_entries: usize,
    /// The namespaces, in order of creation.
    pub namespaces: Vec<NamespaceStats>,
}
