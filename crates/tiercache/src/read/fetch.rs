//! A fetch: reads the shared level, or else loads and fills.
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
//! **Why deferred waiters may get a filled value.** An accepted FILL proves that there was no
//! fence since the lease was acquired, so the loaded value is current *when FILL is executed*.
//! FILL is thus an observation, too, and waiters that enqueued before it was *sent* may get its
//! result. Those that enqueued between its execution and its reply may not: a whole write may
//! have happened in that time.
//!
//! **Why their write version matters.** FILL does not see a write whose fence was lost. If it
//! was a write of this replica, its version shows it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use crate::connection::{CommandError, Connection};
use crate::namespace::Inner;
use crate::protocol::marker::Lease;
use crate::read::in_flight::{Flight, InFlightSlot};
use crate::read::look_up::Lookup;
use crate::read::outcome::{CachedValue, Failure, Source};

/// Runs fetches until the slot has no waiters.
pub(crate) async fn serve<V, E>(namespace: Arc<Inner<V, E>>, mut slot: InFlightSlot<V, E>)
where
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    let key = namespace.key(slot.name());
    while !slot.remove_if_empty() {
        let fetch = Fetch {
            namespace: &namespace,
            name: slot.name(),
            key: &key,
            flight: Flight::new(&slot),
        };
        fetch.run().await;
    }
}

pub(super) struct Fetch<'a, V, E> {
    pub(super) namespace: &'a Inner<V, E>,
    pub(super) name: &'a str,
    pub(super) key: &'a str,
    pub(super) flight: Flight<'a, V, E>,
}

/// The result of a load, and the write version at its begin.
struct Loaded<V, E> {
    result: Result<V, Failure<Arc<E>>>,
    version: u64,
    elapsed: Duration,
}

impl<V, E> Fetch<'_, V, E>
where
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    async fn run(mut self) {
        self.namespace.counters.fetches.one();
        match self.look_up().await {
            Lookup::Hit(value, age) => {
                self.namespace.counters.hits.add(self.flight.admitted());
                let hit = CachedValue::new(value, Source::Shared, age);
                self.flight.deliver(Ok(hit));
            }
            Lookup::Leased(connection, lease) => self.load_and_fill(&connection, lease).await,
            Lookup::LoadOnly => {
                if let Some(loaded) = self.load().await {
                    self.deliver(loaded.result);
                }
            }
        }
    }

    async fn load_and_fill(mut self, connection: &Connection, lease: Lease) {
        let Some(loaded) = self.load().await else {
            return self.release(connection, lease).await;
        };
        let Ok(value) = &loaded.result else {
            self.release(connection, lease).await;
            return self.deliver(loaded.result);
        };
        // This replica has written meanwhile. If the fence was lost, FILL would be accepted.
        if self.namespace.write_version(self.name) != loaded.version || self.is_pending() {
            self.namespace.counters.fills_refused.one();
            self.release(connection, lease).await;
            return self.deliver(loaded.result);
        }
        let Some((payload, ttl)) = self.namespace.to_store(self.name, value) else {
            self.release(connection, lease).await;
            return self.deliver(loaded.result);
        };
        let deferred = self.flight.defer(loaded.version);
        let limit = self.read_timeout();
        let command = self.namespace.shared.command("FILL");
        let filled = connection
            .fill(self.key, &lease, &payload, ttl, limit)
            .await;
        drop(command);
        match filled {
            Ok(true) => {
                self.namespace.counters.fills.one();
                self.flight.admit_deferred(deferred);
            }
            Ok(false) => {
                self.namespace.fill_refused(self.name, loaded.elapsed);
                drop(deferred);
            }
            Err(error) => {
                drop(deferred);
                self.enqueue_release(&error, lease);
            }
        }
        self.deliver(loaded.result);
    }

    /// Calls the loader of an admitted waiter. `None` if no waiter wants the value any more.
    async fn load(&mut self) -> Option<Loaded<V, E>> {
        self.flight.admit();
        let load = self.flight.take_loader()?;
        let counters = &self.namespace.counters;
        counters.loads.one();
        let snapshot = self.namespace.snapshot(self.name);
        let began = Instant::now();
        let result = self.namespace.run(load).await;
        match &result {
            Ok(value) => self.namespace.insert_loaded(self.name, value, snapshot),
            Err(_) => counters.load_failures.one(),
        }
        let unavailable = matches!(&result, Err(failure) if self.namespace.is_outage(failure));
        let flag = &self.namespace.origin_unavailable;
        flag.store(unavailable, Ordering::Relaxed);
        Some(Loaded {
            result,
            version: snapshot.write_version(),
            elapsed: began.elapsed(),
        })
    }

    fn deliver(mut self, result: Result<V, Failure<Arc<E>>>) {
        if let Err(failure) = &result
            && self.namespace.is_outage(failure)
        {
            // An outage implies nothing about the value, so it is a valid result for all.
            self.flight.admit();
        }
        self.flight.deliver(result.map(CachedValue::loaded));
    }

    pub(super) fn is_pending(&self) -> bool {
        self.namespace.shared.pending.contains(self.key)
    }

    async fn release(&mut self, connection: &Connection, lease: Lease) {
        let limit = self.read_timeout();
        if let Err(error) = connection.release(self.key, &lease, limit).await {
            self.enqueue_release(&error, lease);
        }
    }

    /// The lease may exist with nobody to use it, and would delay other readers.
    pub(super) fn enqueue_release(&self, error: &CommandError, lease: Lease) {
        tracing::debug!(
            key = self.key,
            ?error,
            "lease not confirmed: release queued"
        );
        let pending = &self.namespace.shared.pending;
        pending.enqueue_release(self.key, lease);
    }

    pub(super) fn read_timeout(&self) -> Duration {
        self.namespace.shared.settings.read_timeout
    }
}
