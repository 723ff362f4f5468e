//! The state of the connections to Valkey, from the cache's events.

use tiercache::Event;

use crate::observe::{Health, HealthSnapshot};

/// The state of the connections to Valkey.
#[derive(Debug, Default)]
pub struct ValkeyHealth {
    commands: Health,
    tracking: Health,
}

impl ValkeyHealth {
    /// Records an event of the cache.
    pub(super) fn record(&self, event: &Event<'_>) {
        match event {
            Event::SharedLevelUp => self.commands.succeeded(),
            Event::SharedLevelDown => self.commands.lost(),
            Event::ConnectFailed { error } => self.commands.failed(error),
            Event::TrackingUp => self.tracking.succeeded(),
            Event::TrackingDown => self.tracking.lost(),
            _ => {}
        }
    }

    /// The connection for commands.
    #[must_use]
    pub fn commands(&self) -> HealthSnapshot {
        self.commands.snapshot()
    }

    /// The connection for client tracking.
    #[must_use]
    pub fn tracking(&self) -> HealthSnapshot {
        self.tracking.snapshot()
    }
}
