//! The look-up of a fetch in the shared level: GET, then GETLEASE.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use crate::connection::Connection;
use crate::protocol::commands::LeaseReply;
use crate::protocol::marker::{Lease, Stored};
use crate::read::fetch::{Fetch, Grant};
use crate::read::get_shared::SharedRead;

/// The pauses between polls of a key that another process is loading.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// The result of a look-up in the shared level.
pub(crate) enum Lookup<V> {
    /// The value and its age, if that is known.
    Hit(V, Option<Duration>),
    /// A miss: the value must be loaded, and with the grant also be filled.
    Miss(Option<Grant>),
    /// Another process is loading the value, and has not finished within the wait.
    Busy,
}

impl<V, E> Fetch<V, E>
where
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    /// Reads the key, and acquires its lease on a miss. Waits so long for another process that is
    /// loading the value.
    pub(crate) async fn look_up(&mut self, wait: Duration) -> Lookup<V> {
        self.namespace.counters.fetches.one();
        if !self.namespace.uses_shared_level() {
            return Lookup::Miss(None);
        }
        let Some(connection) = self.namespace.shared.connection() else {
            return self.unavailable();
        };
        // Before the check for a pending invalidation: one that is queued after that check
        // changes the versions in this snapshot.
        let snapshot = self.namespace.snapshot(self.name());
        if !self.admit_unless_pending() {
            return Lookup::Miss(None);
        }
        let name = (self.name(), &*self.key);
        match self.namespace.get_shared(&connection, name, snapshot).await {
            Ok(SharedRead::Hit(value, age)) => Lookup::Hit(value, age),
            Ok(SharedRead::Miss { rejected }) => {
                self.acquire_lease(connection, rejected, wait).await
            }
            Ok(SharedRead::Fenced) => self.fenced(),
            Err(_) => self.unavailable(),
        }
    }

    /// Acquires the lease. While another process holds it, polls for the value that it loads.
    async fn acquire_lease(
        &mut self,
        connection: Arc<Connection>,
        mut rejected: Option<Bytes>,
        wait: Duration,
    ) -> Lookup<V> {
        let deadline = Instant::now() + wait;
        let mut pause = FIRST_PAUSE;
        loop {
            let snapshot = self.namespace.snapshot(self.name());
            if !self.admit_unless_pending() {
                return Lookup::Miss(None);
            }
            let lease = Lease::new();
            let command = self.namespace.shared.command("GETLEASE");
            let reply = connection
                .get_lease(
                    &self.key,
                    (&lease, self.namespace.shared.settings.lease),
                    rejected.as_deref(),
                    self.read_timeout(),
                )
                .await;
            drop(command);
            match reply {
                Ok(LeaseReply::Acquired) => {
                    return Lookup::Miss(Some(Grant { connection, lease }));
                }
                Ok(LeaseReply::Occupied(Stored::Payload(payload))) => {
                    match self.namespace.decode(&self.key, &payload) {
                        Some(value) => {
                            let namespace = &self.namespace;
                            namespace.insert_loaded(self.name(), &value, snapshot);
                            return Lookup::Hit(value, None);
                        }
                        None => rejected = Some(payload),
                    }
                }
                Ok(LeaseReply::Occupied(Stored::Fenced)) => return self.fenced(),
                Ok(LeaseReply::Occupied(_)) => {}
                Err(error) => {
                    self.enqueue_release(&error, lease);
                    return self.unavailable();
                }
            }
            if pause == FIRST_PAUSE {
                self.namespace.counters.leases_met.one();
            }
            if Instant::now() + pause > deadline {
                return Lookup::Busy;
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Admits waiters, and returns whether the shared level may be used for the key. In this
    /// order: a waiter's own earlier write has queued its invalidation before the waiter came.
    fn admit_unless_pending(&mut self) -> bool {
        self.flight.admit();
        let is_pending = self.namespace.is_pending(&self.key);
        if is_pending {
            self.namespace.counters.bypassed_pending.one();
        }
        !is_pending
    }

    fn fenced(&self) -> Lookup<V> {
        self.namespace.counters.fences_met.one();
        Lookup::Miss(None)
    }

    fn unavailable(&self) -> Lookup<V> {
        self.namespace.counters.bypassed_unavailable.one();
        Lookup::Miss(None)
    }
}
