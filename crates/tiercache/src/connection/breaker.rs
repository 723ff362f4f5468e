//! The circuit breaker in front of the shared level.
//!
//! ```text
//!            3 timeouts in a row (within 25 ms: one), or any I/O error
//!   closed ───────────────────────────────────────▶ open
//!   (a connection)                                   (none: requests bypass Valkey)
//!      ▲                                                │ reconnect loop:
//!      └─ install ◀─ flush pending ◀─ PING ◀─ connect ◀─┘ at once, then with backoff
//! ```
//!
//! A request is never used as the probe of a new connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use tokio::sync::watch;

use crate::connection::Connection;

/// Holds the connection for commands while the circuit is closed.
pub(crate) struct CircuitBreaker {
    connection: ArcSwapOption<Connection>,
    is_closed: watch::Sender<bool>,
    openings: AtomicU64,
}

impl CircuitBreaker {
    /// An open breaker.
    pub(crate) fn new() -> Self {
        Self {
            connection: ArcSwapOption::empty(),
            is_closed: watch::Sender::new(false),
            openings: AtomicU64::new(0),
        }
    }

    /// The connection, while the breaker is closed.
    pub(crate) fn connection(&self) -> Option<Arc<Connection>> {
        self.connection
            .load_full()
            .filter(|connection| !connection.is_closed())
    }

    /// Waits until the breaker is closed, or open.
    pub(crate) async fn wait_for(&self, closed: bool) {
        // The sender is in `self`, so this cannot fail.
        let _ = self
            .is_closed
            .subscribe()
            .wait_for(|is_closed| *is_closed == closed)
            .await;
    }

    /// The number of times that the breaker has opened.
    pub(crate) fn openings(&self) -> u64 {
        self.openings.load(Ordering::Relaxed)
    }

    pub(super) fn close(&self, connection: Arc<Connection>) {
        self.connection.store(Some(connection));
        self.is_closed.send_replace(true);
    }

    pub(super) fn open(&self) {
        self.connection.store(None);
        self.is_closed.send_replace(false);
        self.openings.fetch_add(1, Ordering::Relaxed);
    }
}
