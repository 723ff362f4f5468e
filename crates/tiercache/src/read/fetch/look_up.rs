//! The look-up of a fetch in the shared level: GET, then GETLEASE.

use std::mem;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, join};

use crate::connection::{CommandError, Connection};
use crate::local::group::Group;
use crate::namespace::Inner;
use crate::protocol::commands::LeaseReply;
use crate::protocol::generation::GroupState;
use crate::protocol::marker::{Lease, Stored};
use crate::read::fetch::{Fetch, Grant, Known};
use crate::read::get_shared::SharedRead;
use crate::seams::mutant;
use crate::seams::{Instant, sleep};

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
        let known = mem::take(&mut self.known);
        if let Known::Nothing = known {
            self.namespace.counters.fetches.one();
        }
        if !self.namespace.uses_shared_level() {
            return Lookup::Miss(None);
        }
        let Some(connection) = self.namespace.shared.connection(&self.key) else {
            return self.unavailable();
        };
        match known {
            Known::Nothing => {}
            Known::Absent { rejected } => {
                return self.miss(rejected, wait).await;
            }
            Known::Fenced => return self.fenced(),
            Known::Unavailable => return self.unavailable(),
        }
        // Before the check for a pending invalidation: one that is queued after that check
        // changes the versions in this snapshot.
        let snapshot = self.snapshot();
        if !self.admit_unless_pending() {
            return Lookup::Miss(None);
        }
        let target = (self.entry_key(), &*self.key, self.group.as_ref());
        match self
            .namespace
            .get_shared(&connection, target, snapshot)
            .await
        {
            Ok(SharedRead::Hit(value, age)) => Lookup::Hit(value, age),
            Ok(SharedRead::Miss { rejected }) => self.miss(rejected, wait).await,
            Ok(SharedRead::Fenced) => self.fenced(),
            Err(_) => self.unavailable(),
        }
    }

    /// As [`acquire_lease`](Self::acquire_lease), boxed: most fetches are hits, and hold no room
    /// for it.
    fn miss(&mut self, rejected: Option<Bytes>, wait: Duration) -> BoxFuture<'_, Lookup<V>> {
        Box::pin(self.acquire_lease(rejected, wait))
    }

    /// Acquires the lease. While another process holds it, polls for the value that it loads.
    async fn acquire_lease(&mut self, mut rejected: Option<Bytes>, wait: Duration) -> Lookup<V> {
        let deadline = Instant::now() + wait;
        let mut pause = FIRST_PAUSE;
        loop {
            // Each time, since another node may have taken over the key.
            let Some(connection) = self.namespace.shared.connection(&self.key) else {
                return self.unavailable();
            };
            if connection.lacks().scripts {
                return self.unavailable();
            }
            let snapshot = self.snapshot();
            if !self.admit_unless_pending() {
                return Lookup::Miss(None);
            }
            mutant!(LoadedWithoutLease => return Lookup::Miss(Some(Grant { connection, lease: Lease::new(), group: GroupState::Ungrouped })));
            let lease = Lease::new();
            let namespace = &*self.namespace;
            let acquiring =
                namespace.get_lease(&connection, &self.key, &lease, rejected.as_deref());
            let reading = namespace.generation(self.group.as_ref());
            match join(acquiring, reading).await {
                (Ok(LeaseReply::Acquired), Ok(group)) if group != GroupState::Fenced => {
                    return Lookup::Miss(Some(Grant {
                        connection,
                        lease,
                        group,
                    }));
                }
                (Ok(LeaseReply::Acquired), group) => {
                    self.release_lease(&connection, lease).await;
                    return match group {
                        Ok(_) => self.fenced(),
                        Err(_) => self.unavailable(),
                    };
                }
                (Ok(LeaseReply::Occupied(Stored::Fenced)), _) | (Ok(_), Ok(GroupState::Fenced)) => {
                    return self.fenced();
                }
                (Ok(LeaseReply::Occupied(Stored::Payload(_))), _)
                    if namespace.is_moved_since(&snapshot) =>
                {
                    return self.fenced();
                }
                (Ok(LeaseReply::Occupied(Stored::Payload(payload))), Ok(group)) => {
                    match self.namespace.decode(&self.key, &payload, &group) {
                        Some(value) => {
                            let namespace = &self.namespace;
                            namespace.insert_loaded(self.entry_key(), &value, snapshot);
                            return Lookup::Hit(value, None);
                        }
                        None => rejected = Some(payload),
                    }
                }
                (Ok(LeaseReply::Occupied(_)), Ok(_)) => {}
                (Ok(LeaseReply::Occupied(_)), Err(_)) => return self.unavailable(),
                (Err(error), _) => {
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
        let is_pending = self.is_pending();
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

impl<V, E> Inner<V, E> {
    async fn get_lease(
        &self,
        connection: &Connection,
        key: &str,
        lease: &Lease,
        rejected: Option<&[u8]>,
    ) -> Result<LeaseReply, CommandError> {
        let settings = &self.shared.settings;
        let _command = self.shared.command("GETLEASE");
        let limit = settings.read_timeout;
        connection
            .get_lease(key, (lease, settings.lease), rejected, limit)
            .await
    }

    /// The state of a key's group, with a generation that the load may begin under.
    async fn generation(&self, group: Option<&Group>) -> Result<GroupState, CommandError> {
        let Some(group) = group else {
            return Ok(GroupState::Ungrouped);
        };
        let connection = self.shared.connection(&group.key);
        let connection = connection.ok_or(CommandError::CircuitOpen)?;
        let _command = self.shared.command("GETGEN");
        let limit = self.shared.settings.read_timeout;
        connection.get_generation(&group.key, limit).await
    }
}
