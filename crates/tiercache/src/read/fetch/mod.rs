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
//! For a key of a group (see [`crate::group`]), GET and GETLEASE observe the group's key as well, and
//! FILL is no observation: it does not prove that there was no write of the group.
//!
//! [`look_up`] has the commands before a load, [`fill`] those after it. `serve` drives the fetch
//! of one key, and `many` those of several keys with one load.

pub(super) mod fill;
pub(super) mod look_up;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::connection::{CommandError, Connection};
use crate::local::entry::KeyRef;
use crate::local::group::Group;
use crate::namespace::Inner;
use crate::protocol::generation::GroupState;
use crate::protocol::marker::Lease;
use crate::read::get_local::ReadSnapshot;
use crate::read::in_flight::{Flight, InFlightSlot};
use crate::read::outcome::{CachedValue, Source};
use crate::seams::mutant;

/// The fetch of a key, on behalf of the waiters of its slot.
pub(crate) struct Fetch<V, E> {
    pub(super) namespace: Arc<Inner<V, E>>,
    pub(super) key: String,
    pub(super) group: Option<Group>,
    pub(super) flight: Flight<V, E>,
    /// What its first look-up need not read again.
    known: Known,
}

/// What the caller of a fetch has read of the key just before.
#[derive(Default)]
pub(crate) enum Known {
    /// It has read nothing.
    #[default]
    Nothing,
    /// There is no value. A payload that was rejected may be replaced.
    Absent { rejected: Option<Bytes> },
    /// A write of the key, or of its group, was in progress.
    Fenced,
    /// The shared level is unavailable.
    Unavailable,
}

/// The right to fill a key.
pub(crate) struct Grant {
    pub(crate) connection: Arc<Connection>,
    pub(crate) lease: Lease,
    /// Of the key's group, as read before the load.
    pub(crate) group: GroupState,
}

impl<V, E> Fetch<V, E>
where
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    pub(super) fn new(
        namespace: Arc<Inner<V, E>>,
        group: Option<Group>,
        slot: InFlightSlot<V, E>,
        known: Known,
    ) -> Self {
        let flight = Flight::new(slot);
        Self {
            key: namespace.key(flight.name()),
            namespace,
            group,
            flight,
            known,
        }
    }

    pub(super) fn name(&self) -> &str {
        self.flight.name()
    }

    fn entry_key(&self) -> KeyRef<'_> {
        self.namespace.entry_key(self.name())
    }

    pub(super) fn deliver_hit(&mut self, value: V, age: Option<Duration>) {
        mutant!(JoinedDuringGet => self.flight.admit());
        let waiters = self.flight.admitted();
        self.namespace.counters.hits.add(waiters);
        self.namespace.in_flight.shared(self.entry_key(), waiters);
        let hit = CachedValue::new(value, Source::Shared, age);
        self.flight.deliver(Ok(hit));
    }

    /// Releases a lease that is not used.
    pub(super) async fn release(&mut self, grant: Grant) {
        self.release_lease(&grant.connection, grant.lease).await;
    }

    async fn release_lease(&mut self, connection: &Connection, lease: Lease) {
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

    fn is_pending(&self) -> bool {
        self.namespace.is_pending(&self.key, self.group.as_ref())
    }

    fn snapshot(&self) -> ReadSnapshot {
        let hash = self.entry_key().hash;
        self.namespace.snapshot(hash, self.group.as_ref())
    }

    fn read_timeout(&self) -> Duration {
        self.namespace.shared.settings.read_timeout
    }
}
