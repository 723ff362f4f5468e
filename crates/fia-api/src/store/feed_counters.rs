//! The state and the counters of the change feed.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::observe::{Health, HealthSnapshot};

/// The state of the change feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangeFeedStats {
    /// Whether it is connected.
    pub up: bool,
    /// The notifications received.
    pub notifications: u64,
    /// The reconnects.
    pub reconnects: u64,
}

/// The counters of a change feed; they outlive it.
#[derive(Default)]
pub struct ChangeFeedCounters {
    pub(super) up: AtomicBool,
    pub(super) notifications: AtomicU64,
    pub(super) connections: AtomicU64,
    pub(super) health: Health,
}

impl ChangeFeedCounters {
    /// Whether it is connected, since when, and the last failure.
    #[must_use]
    pub fn health(&self) -> HealthSnapshot {
        self.health.snapshot()
    }

    /// The current values.
    #[must_use]
    pub fn stats(&self) -> ChangeFeedStats {
        ChangeFeedStats {
            up: self.up.load(Ordering::Relaxed),
            notifications: self.notifications.load(Ordering::Relaxed),
            reconnects: self.connections.load(Ordering::Relaxed).saturating_sub(1),
        }
    }
}
