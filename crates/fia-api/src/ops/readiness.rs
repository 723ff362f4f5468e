//! Whether this replica may receive requests, apart from the state of the database.

use std::sync::Arc;

use tokio::sync::watch;

/// The readiness that `/ready` reports. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Readiness(Arc<watch::Sender<bool>>);

impl Default for Readiness {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Readiness {
    /// Records the shutdown signal.
    pub fn begin_drain(&self) {
        self.0.send_replace(true);
    }

    /// Whether the shutdown signal has arrived.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits for the shutdown signal.
    pub async fn drained(&self) {
        // Fails only if the sender is dropped, which `self` holds.
        let _ = self
            .0
            .subscribe()
            .wait_for(|is_draining| *is_draining)
            .await;
    }
}
