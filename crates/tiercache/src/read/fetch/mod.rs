//! The fetch of a key: reads the shared level, or else loads and fills.
//!
//! Waiters are admitted before every observation (see [`crate::read::in_flight`]):
//!
//! ```text
//! admit, GET ──▶ payload: insert it locally ─────────────────────────────▶ deliver
//!   │ nothing, a lease, or an invalid payload
//! admit, GETLEASE ──▶ payload ───────────────────────────────────────────▶ deliver
//!   │ ▲ └── another process's lease: pause; give up after `lease_wait` ─┐
//!   │ acquired   a fence, unavailable, a pending invalidation ────────┐ │
//! admit, load                                                 admit, load ▶ deliver
//!   │
//! defer, FILL ──▶ accepted: admit the deferred waiters ──────────────────▶ deliver
//!              └▶ refused:  they keep waiting
//! ```
//!
//! [`look_up`] has the commands before a load, [`fill`] those after it. `serve` drives the fetch
//! of one key, and `many` those of several keys with one load.

pub(super) mod fill;
pub(super) mod look_up;

use std::sync::Arc;
use std::time::Duration;

use crate::connection::{CommandError, Connection};
use crate::namespace::Inner;
use crate::protocol::marker::Lease;
use crate::read::in_flight::{Flight, InFlightSlot};
use crate::read::outcome::{CachedValue, Source};

/// The fetch of a key, on behalf of the waiters of its slot.
pub(crate) struct Fetch<V, E> {
    pub(super) namespace: Arc<Inner<V, E>>,
    pub(super) key: String,
    pub(super) flight: Flight<V, E>,
}

/// The right to fill a key.
pub(crate) struct Grant {
    pub(crate) connection: Arc<Connection>,
    pub(crate) lease: Lease,
}

impl<V, E> Fetch<V, E>
where
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    pub(super) fn new(namespace: Arc<Inner<V, E>>, slot: InFlightSlot<V, E>) -> Self {
        let flight = Flight::new(slot);
        Self {
            key: namespace.key(flight.name()),
            namespace,
            flight,
        }
    }

    pub(super) fn name(&self) -> &str {
        self.flight.name()
    }

    pub(super) fn deliver_hit(&mut self, value: V, age: Option<Duration>) {
        self.namespace.counters.hits.add(self.flight.admitted());
        let hit = CachedValue::new(value, Source::Shared, age);
        self.flight.deliver(Ok(hit));
    }

    /// Releases a lease that is not used.
    pub(super) async fn release(&mut self, Grant { connection, lease }: Grant) {
        let releasing = connection.release(&self.key, &lease, self.read_timeout());
        if let Err(error) = releasing.await {
            self.enqueue_release(&error, lease);
        }
    }

    /// The lease may exist with nobody to use it, and would delay other readers.
    fn enqueue_release(&self, error: &CommandError, lease: Lease) {
        tracing::debug!(
            key = self.key,
            ?error,
            "lease not confirmed: release queued"
        );
        let pending = &self.namespace.shared.pending;
        pending.enqueue_release(&self.key, lease);
    }

    fn read_timeout(&self) -> Duration {
        self.namespace.shared.settings.read_timeout
    }
}
