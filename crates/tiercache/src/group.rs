//! Groups: entries that a write invalidates together, also those whose keys it cannot name.
//!
//! A group has one key, which holds a *generation*. A payload of the group ends in a tag, the
//! generation that was read before its value was loaded, and is current only while the key holds
//! the same. A write fences the key as any other, and its invalidation removes the generation:
//!
//! ```text
//!  read                                        write
//!   │ GET key, GET group                        │ BEGIN; UPDATE …
//!   │ ──▶ payload with the group's tag: done    │ SET group fence
//!   │ GETLEASE key, GETGEN group                │ COMMIT
//!   │ ──▶ fence: load, do not fill              │ INVALIDATE group: no generation
//!   │ load                                      ▼ return: no older value is served
//!   │ FILL with the tag of the generation
//!   ▼
//! ```
//!
//! The next reader begins a new generation, a random one, so that no old tag is ever current again.
//! A payload without a tag, of a client without this protocol, is a miss. That the key of a group is lost
//! (by expiry, eviction or a flush) makes its entries misses.
//!
//! In the local cache an entry carries the versions of its key and of its group's, and a push about
//! either invalidates it (see [`crate::local::coherence`]).
//!
//! Two overlapping writes of a group share its key, so the fence of the later replaces that of the
//! earlier. If the earlier one's process then dies between COMMIT and its invalidation, the
//! group's entries may be stale until their TTL.

use std::convert::Infallible;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use crate::cache::Cache;
use crate::codec::codec;
use crate::local::group::Group;
use crate::local::versions::KeyHash;
use crate::namespace::Namespace;
use crate::settings::ConfigError;
use crate::write::key::Key;

/// Groups of entries, by name; each has one key in the shared level. Cheap to clone. See
/// [`NamespaceBuilder::grouped`](crate::NamespaceBuilder::grouped).
#[derive(Clone)]
pub struct Groups(Namespace<str, (), Infallible>);

impl Cache {
    /// Creates the groups whose keys have this prefix, each followed by the name of a group.
    /// `name` is that in statistics.
    ///
    /// # Errors
    /// As [`NamespaceBuilder::build`](crate::NamespaceBuilder::build).
    pub fn groups(
        &self,
        name: impl Into<String>,
        prefix: impl Into<String>,
    ) -> Result<Groups, ConfigError> {
        // A namespace that stores no values: its keys, their writes and their statistics.
        let nothing = codec(|()| Bytes::new(), |_| None);
        let keys = self.namespace(prefix, nothing).name(name);
        Ok(Groups(keys.ttl(Duration::ZERO).build()?))
    }
}

impl Groups {
    /// The key of a group, to be fenced by a [write](Cache::write), which invalidates all entries
    /// of the group.
    pub fn key(&self, group: &str) -> Key {
        self.0.key(group)
    }

    /// Invalidates all entries of a group, after a change that was made elsewhere. Once it
    /// returns, no value from before the call is served.
    pub async fn invalidate(&self, group: &str) {
        self.0.invalidate(group).await;
    }

    /// Invalidates all entries of all groups, as
    /// [`Namespace::invalidate_all`](crate::Namespace::invalidate_all).
    pub async fn invalidate_all(&self) {
        self.0.invalidate_all().await;
    }

    pub(crate) fn group(&self, name: &str) -> Group {
        let key = self.0.0.key(name);
        Group {
            hash: KeyHash::of(&key),
            key: key.into(),
        }
    }
}

impl fmt::Debug for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Groups").field(&self.0).finish()
    }
}
