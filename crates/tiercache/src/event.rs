//! Events: what a cache reports to its user's hook.

use std::sync::Arc;
use std::time::Duration;

/// An event of a cache. The hook gets it in the task in which it happened, so it must not block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The shared level is available.
    SharedLevelUp,
    /// The shared level is unavailable: it is bypassed until a background reconnect succeeds.
    SharedLevelDown,
    /// An attempt to connect to the shared level failed; it is repeated with backoff.
    ConnectFailed {
        /// The cause, as text.
        error: &'a str,
    },
    /// Client tracking is established: the local cache is used.
    TrackingUp,
    /// Client tracking is lost: the local cache is bypassed until it reconnects.
    TrackingDown,
    /// A write was not confirmed to have raised its fence.
    FenceUnconfirmed {
        /// The key in the shared level.
        key: &'a str,
    },
    /// An invalidation was not confirmed and is queued; this process bypasses the key.
    InvalidationQueued {
        /// The key in the shared level, or the prefix of a whole namespace.
        key: &'a str,
    },
    /// An entry of the shared level could not be decoded; it is replaced.
    PayloadRejected {
        /// The key in the shared level.
        key: &'a str,
    },
    /// A loaded value is not cached: its payload exceeds the namespace's limit.
    PayloadTooLarge {
        /// The key in the shared level.
        key: &'a str,
        /// The size of the payload.
        bytes: usize,
    },
    /// A load took longer than its lease, so its value was not stored.
    LoadOutlivedLease {
        /// The key in the shared level.
        key: &'a str,
        /// The duration of the load.
        elapsed: Duration,
    },
    /// A sampled local hit differed from the origin.
    StaleSample {
        /// The key in the shared level.
        key: &'a str,
    },
}

pub(crate) type Hook = dyn Fn(&Event<'_>) + Send + Sync;

/// A hook for events; `None` for none.
#[derive(Clone, Default)]
pub(crate) struct Events(pub(crate) Option<Arc<Hook>>);

impl Events {
    pub(crate) fn emit(&self, event: Event<'_>) {
        if let Some(hook) = &self.0 {
            hook(&event);
        }
    }
}
