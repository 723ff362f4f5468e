//! Reads of the shared level, without a lease.

use std::fmt::Display;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join;

use crate::clock::Moment;
use crate::connection::{CommandError, Connection};
use crate::local::entry::KeyRef;
use crate::local::group::Group;
use crate::namespace::{Inner, Namespace, with_name};
use crate::protocol::generation::GroupState;
use crate::protocol::marker::Stored;
use crate::protocol::read::{Expiry, Found};
use crate::read::get_local::ReadSnapshot;

/// The content of a key, as a read finds it.
pub(super) enum SharedRead<V> {
    /// The value and its age, if that is known.
    Hit(V, Option<Duration>),
    /// No value. A payload that was rejected may be replaced.
    Miss { rejected: Option<Bytes> },
    /// A write of the key, or of its group, is in progress; or a slot got another node meanwhile.
    Fenced,
}

impl<K, V, E> Namespace<K, V, E>
where
    K: Display + Sync + ?Sized,
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    /// Returns the value of this key if the local cache or the shared level has it; loads
    /// nothing. The value is as fresh as that of [`lookup`](Self::lookup).
    ///
    /// `None` also while the shared level is unavailable, while an invalidation of the key is
    /// pending, and for a payload that the codec rejects.
    pub async fn peek(&self, key: &K) -> Option<V> {
        let now = Moment::now();
        let local = |name: &str| self.0.get_local(self.0.entry_key(name), now);
        let (name, hit) = with_name(key, |name| (name.to_owned(), local(name)));
        let group = self.1.of(key);
        if let Some(entry) = hit {
            self.0.counters.local_hits.one();
            return Some(entry.value.clone());
        }
        self.0.counters.requests.one();
        self.0.peek_shared(&name, group.as_ref()).await
    }
}

impl<V, E> Inner<V, E>
where
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    async fn peek_shared(&self, name: &str, group: Option<&Group>) -> Option<V> {
        let (key, entry_key) = (self.key(name), self.entry_key(name));
        let snapshot = self.snapshot(entry_key.hash, group);
        let connection = self.shared.connection(&key)?;
        if !self.uses_shared_level() || self.is_pending(&key, group) {
            return None;
        }
        let target = (entry_key, &*key, group);
        match self.get_shared(&connection, target, snapshot).await {
            Ok(SharedRead::Hit(value, _)) => {
                self.counters.hits.one();
                Some(value)
            }
            Ok(SharedRead::Miss { .. } | SharedRead::Fenced) => None,
            Err(error) => {
                tracing::debug!(key, ?error, "read failed: treated as absent");
                None
            }
        }
    }

    /// Whether values of this namespace are kept in the shared level.
    pub(super) fn uses_shared_level(&self) -> bool {
        !self.config.ttl.is_zero() && self.config.is_shared && self.shared.has_shared_level()
    }

    /// Reads a key, and inserts its value locally. **The snapshot must be taken before the check
    /// that the key is not pending, which must precede this call.**
    pub(super) async fn get_shared(
        &self,
        connection: &Connection,
        (entry_key, key, group): (KeyRef<'_>, &str, Option<&Group>),
        snapshot: ReadSnapshot,
    ) -> Result<SharedRead<V>, CommandError> {
        let expiry = match self.is_kept_locally() {
            true => Expiry::Ttl,
            false => Expiry::None,
        };
        let found = self.read(connection, key, expiry, group).await?;
        let (ttl, state) = (found.ttl(), found.group);
        #[cfg(tiercache_simulation)]
        let snapshot = match crate::mutants::Mutant::SnapshotAfterReply.is_active() {
            true => self.snapshot(entry_key.hash, group),
            false => snapshot,
        };
        Ok(match found.stored {
            _ if state == GroupState::Fenced || self.is_moved_since(&snapshot) => {
                SharedRead::Fenced
            }
            Stored::Payload(payload) => match self.decode(key, &payload, &state) {
                Some(value) => {
                    self.insert_shared(entry_key, &value, payload.len(), snapshot, ttl);
                    let age = ttl.map(|left| self.config.ttl_of(&value).saturating_sub(left));
                    SharedRead::Hit(value, age)
                }
                None => SharedRead::Miss {
                    rejected: Some(payload),
                },
            },
            Stored::Nothing | Stored::Leased => SharedRead::Miss { rejected: None },
            Stored::OtherType => {
                self.counters.rejected.one();
                SharedRead::Miss { rejected: None }
            }
            Stored::Fenced => SharedRead::Fenced,
        })
    }

    /// Reads a key, its expiry, and the state of its group.
    pub(super) async fn read(
        &self,
        connection: &Connection,
        key: &str,
        expiry: Expiry,
        group: Option<&Group>,
    ) -> Result<Found, CommandError> {
        let limit = self.shared.settings.read_timeout;
        let _command = self.shared.command("GET");
        let Some(elsewhere) = group.filter(|_| self.shared.is_cluster()) else {
            return connection.read(key, expiry, group, limit).await;
        };
        let other = self.shared.connection(&elsewhere.key);
        let other = other.ok_or(CommandError::CircuitOpen)?;
        let reading = Box::pin(connection.read(key, expiry, None, limit));
        let (found, state) = join(reading, Box::pin(other.get_group(elsewhere, limit))).await;
        Ok(Found {
            group: state?,
            ..found?
        })
    }
}
