//! The cache as a whole: its availability and its statistics.

use std::sync::Arc;

use crate::local::store::Store;
use crate::shared::Shared;
use crate::stats::{CacheStats, SharedLevel};

/// A two-level cache. Cheap to clone; its namespaces keep it alive.
#[derive(Clone)]
pub struct Cache(pub(crate) Arc<Shared>);

impl Cache {
    /// Whether the shared level is available now; of a cluster, all primaries.
    pub fn is_shared_level_up(&self) -> bool {
        self.0.shared_level() == SharedLevel::Up
    }

    /// Waits until the shared level is available, or until it is unavailable. Returns at once if
    /// there is none by configuration.
    pub async fn wait_for_shared_level(&self, up: bool) {
        if let Some(link) = &self.0.link {
            link.wait_for(up).await;
        }
    }

    /// Waits until client tracking is established, so that the local cache is used. Returns at
    /// once if no namespace is tracked.
    pub async fn wait_for_tracking(&self) {
        if self.0.is_tracked() {
            self.0.coherence.wait_until_live().await;
        }
    }

    /// The counters and gauges, each read separately while the cache is in use.
    pub fn stats(&self) -> CacheStats {
        let local = self.0.local.as_ref();
        CacheStats {
            shared_level: self.0.shared_level(),
            breaker_openings: self.0.openings(),
            pending_invalidations: self.0.pending.count() + self.0.bypassed.count(),
            tracking: self.0.tracking(),
            local_bytes: local.map_or(0, Store::bytes),
            local_entries: local.map_or(0, Store::entries),
            namespaces: self.0.namespaces(),
        }
    }
}
