//! The look-up of a fetch in the shared level: GET, then GETLEASE.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use crate::connection::{CommandError, Connection};
use crate::protocol::commands::{LeaseReply, WithExpiry};
use crate::protocol::marker::{Lease, Stored};
use crate::read::fetch::Fetch;

/// The pauses between polls of a key that another process is loading.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// The result of a look-up in the shared level.
pub(super) enum Lookup<V> {
    /// The value and its age, if that is known.
    Hit(V, Option<Duration>),
    /// A miss, with the right to fill the key.
    Leased(Arc<Connection>, Lease),
    /// A miss without that right: load, do not fill.
    LoadOnly,
}

impl<V, E> Fetch<'_, V, E>
where
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    /// Reads the key, and acquires its lease on a miss.
    pub(super) async fn look_up(&mut self) -> Lookup<V> {
        let config = &self.namespace.config;
        if config.ttl.is_zero() || !config.is_shared || !self.namespace.shared.has_shared_level() {
            return Lookup::LoadOnly;
        }
        let Some(connection) = self.namespace.shared.connection() else {
            return self.unavailable();
        };
        // Before the check for a pending invalidation: one that is queued after that check
        // changes the versions in this snapshot.
        let snapshot = self.namespace.snapshot(self.name);
        if !self.admit_unless_pending() {
            return Lookup::LoadOnly;
        }
        match self.get(&connection).await {
            Ok((Stored::Payload(payload), ttl)) => match self.decode(&payload) {
                Some(value) => {
                    let namespace = self.namespace;
                    namespace.insert_shared(self.name, &value, payload.len(), snapshot, ttl);
                    let age = ttl.map(|left| namespace.config.ttl_of(&value).saturating_sub(left));
                    Lookup::Hit(value, age)
                }
                None => self.acquire_lease(connection, Some(payload)).await,
            },
            Ok((Stored::Nothing | Stored::Leased, _)) => self.acquire_lease(connection, None).await,
            Ok((Stored::OtherType, _)) => {
                self.namespace.counters.rejected.one();
                self.acquire_lease(connection, None).await
            }
            Ok((Stored::Fenced, _)) => self.fenced(),
            Err(_) => self.unavailable(),
        }
    }

    /// Reads the key, with its TTL if the value is to be kept locally.
    async fn get(
        &mut self,
        connection: &Connection,
    ) -> Result<(Stored, Option<Duration>), CommandError> {
        let limit = self.read_timeout();
        let _command = self.namespace.shared.command("GET");
        if !self.namespace.is_kept_locally() {
            return Ok((connection.get(self.key, limit).await?, None));
        }
        let WithExpiry { stored, expiry } = connection.get_with_ttl(self.key, limit).await?;
        Ok((stored, expiry))
    }

    /// Acquires the lease. While another process holds it, polls for the value that it loads.
    async fn acquire_lease(
        &mut self,
        connection: Arc<Connection>,
        mut rejected: Option<Bytes>,
    ) -> Lookup<V> {
        let deadline = Instant::now() + self.namespace.shared.settings.lease_wait;
        let mut pause = FIRST_PAUSE;
        loop {
            let snapshot = self.namespace.snapshot(self.name);
            if !self.admit_unless_pending() {
                return Lookup::LoadOnly;
            }
            let lease = Lease::new();
            let command = self.namespace.shared.command("GETLEASE");
            let reply = connection
                .get_lease(
                    self.key,
                    (&lease, self.namespace.shared.settings.lease),
                    rejected.as_deref(),
                    self.read_timeout(),
                )
                .await;
            drop(command);
            match reply {
                Ok(LeaseReply::Acquired) => return Lookup::Leased(connection, lease),
                Ok(LeaseReply::Occupied(Stored::Payload(payload))) => match self.decode(&payload) {
                    Some(value) => {
                        self.namespace.insert_loaded(self.name, &value, snapshot);
                        return Lookup::Hit(value, None);
                    }
                    None => rejected = Some(payload),
                },
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
                return Lookup::LoadOnly;
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Admits waiters, and returns whether the shared level may be used for the key. In this
    /// order: a waiter's own earlier write has queued its invalidation before the waiter came.
    fn admit_unless_pending(&mut self) -> bool {
        self.flight.admit();
        let is_pending = self.is_pending();
        if is_pending {
            self.namespace.counters.bypassed_pending.one();
        }
        !is_pending
    }

    fn decode(&self, payload: &Bytes) -> Option<V> {
        self.namespace.decode(self.key, payload)
    }

    fn fenced(&self) -> Lookup<V> {
        self.namespace.counters.fences_met.one();
        Lookup::LoadOnly
    }

    fn unavailable(&self) -> Lookup<V> {
        self.namespace.counters.bypassed_unavailable.one();
        Lookup::LoadOnly
    }
}
