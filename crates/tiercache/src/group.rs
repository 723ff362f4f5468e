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
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::cache::Cache;
use crate::codec::codec;
use crate::local::group::Group;
use crate::local::versions::KeyHash;
use crate::namespace::builder::NamespaceBuilder;
use crate::namespace::{Grouping, Namespace};
use crate::settings::ConfigError;
use crate::write::key::Key;

/// Groups of entries, by name; each has one key in the shared level. Cheap to clone. See
/// [`NamespaceBuilder::grouped`].
#[derive(Clone)]
pub struct Groups(Namespace<str, (), Infallible>);

impl Cache {
    /// Creates the groups whose keys have this prefix, each followed by the name of a group.
    /// `name` is that in statistics.
    ///
    /// # Errors
    /// As [`NamespaceBuilder::build`].
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

impl<K: ?Sized, V, E> NamespaceBuilder<K, V, E> {
    /// Makes each entry one of a group, which a write can invalidate as a whole: for lists and
    /// counts, whose keys the write does not know. `group_of` returns the name of a key's group;
    /// it must be the same for keys of the same text.
    ///
    /// A payload of a group has a tag of 64 characters of JSON white space at its end. One without
    /// a tag, of another program, is a miss. Values are stored by loads only, not by
    /// [`put`](Namespace::put).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::io;
    /// use tiercache::{Cache, CommitWith, Json};
    ///
    /// let cache = Cache::local_builder().memory(1 << 20).connect()?;
    /// let teams = cache.groups("teams", "app:team:")?;
    /// // A page of the members of a team: "red?page=2".
    /// let team = |page: &str| page.split('?').next().unwrap_or_default().to_owned();
    /// let pages = cache
    ///     .namespace::<str, Vec<u64>, io::Error>("app:members:", Json)
    ///     .grouped(&teams, team)
    ///     .build()?;
    /// assert_eq!(pages.get("red?page=2", async || Ok(vec![7])).await?, [7]);
    ///
    /// let changed = teams.key("red");
    /// cache
    ///     .write(async move |write| {
    ///         // BEGIN; DELETE FROM members …: the rows are locked.
    ///         let transaction = CommitWith(async || Ok::<(), io::Error>(()));
    ///         write.fence(transaction, [changed]).await.commit().await
    ///     })
    ///     .await?;
    /// # Ok(()) }
    /// ```
    pub fn grouped(
        mut self,
        groups: &Groups,
        group_of: impl Fn(&K) -> String + Send + Sync + 'static,
    ) -> Self {
        let groups = groups.clone();
        let group_of = move |key: &K| groups.group(&group_of(key));
        self.grouping = Grouping(Some(Arc::new(group_of)));
        self
    }
}

impl fmt::Debug for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Groups").field(&self.0).finish()
    }
}
