//! An entry of the local cache, and its key.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use quick_cache::Equivalent;

use crate::clock::Moment;
use crate::local::coherence::VersionStamp;
use crate::local::group::GroupStamp;
use crate::local::holders::{Held, Holders};
use crate::local::versions::KeyHash;

/// The condition under which an entry is current, within its TTL and unless its group has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Validity {
    /// Read from the shared level: while the versions are those from before the read.
    Tracked(VersionStamp),
    /// Of a namespace that is not shared: always.
    LocalOnly,
    /// Loaded from the origin, so that no push invalidates it: never. It is only a last known
    /// value.
    FallbackOnly,
}

/// An entry of the local cache.
pub(crate) struct Entry<V> {
    pub(crate) value: V,
    bytes: usize,
    /// The hash of the key in the shared level, by which it is tracked.
    pub(crate) hash: KeyHash,
    pub(crate) validity: Validity,
    pub(crate) group: Option<GroupStamp>,
    pub(crate) times: Times,
    refreshing: AtomicBool,
    holders: Holders<Entry<V>>,
}

/// The times of an entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// When its value was loaded, by the TTL that was left.
    pub(crate) loaded: Moment,
    /// From when on a hit starts an early refresh.
    pub(crate) refresh: Moment,
    /// The end of the TTL.
    pub(crate) deadline: Moment,
}

impl<V> Entry<V> {
    pub(crate) fn new(
        hash: KeyHash,
        (value, bytes): (V, usize),
        (validity, group): (Validity, Option<GroupStamp>),
        times: Times,
    ) -> Self {
        Self {
            value,
            bytes,
            hash,
            validity,
            group,
            times,
            refreshing: AtomicBool::new(false),
            holders: Holders::new(),
        }
    }

    /// The size of the value in bytes, as the store counts it.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Lets a handle hold this entry, unless it has left the store.
    pub(crate) fn hold(self: &Arc<Self>, held: &Arc<Held<Self>>) {
        self.holders.add(held, self);
    }

    /// Takes this entry, which leaves the store, from the handles that hold it.
    pub(crate) fn release(&self) {
        self.holders.release();
    }

    /// Whether an early refresh is due and has not been started.
    #[inline]
    pub(crate) fn is_refresh_due(&self, now: Moment) -> bool {
        now >= self.times.refresh && !self.refreshing.load(Ordering::Relaxed)
    }

    /// As [`is_refresh_due`](Self::is_refresh_due), but true for one caller only.
    pub(crate) fn start_refresh(&self, now: Moment) -> bool {
        self.is_refresh_due(now) && !self.refreshing.swap(true, Ordering::Relaxed)
    }
}

/// The key of an entry: its namespace, and its name there.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(super) namespace: u32,
    pub(super) name: Arc<str>,
    pub(crate) hash: KeyHash,
}

/// A borrowed [`Key`].
#[derive(Clone, Copy)]
pub(crate) struct KeyRef<'a> {
    pub(crate) namespace: u32,
    pub(crate) name: &'a str,
    /// The hash of the key in the shared level, by which it is tracked.
    pub(crate) hash: KeyHash,
}

impl KeyRef<'_> {
    pub(crate) fn to_owned(self) -> Key {
        Key {
            namespace: self.namespace,
            name: self.name.into(),
            hash: self.hash,
        }
    }
}

impl Key {
    pub(crate) fn borrowed(&self) -> KeyRef<'_> {
        KeyRef {
            namespace: self.namespace,
            name: &self.name,
            hash: self.hash,
        }
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.borrowed().hash(state);
    }
}

impl Hash for KeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.namespace.hash(state);
        self.name.hash(state);
    }
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.namespace == key.namespace && *self.name == *key.name
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::Duration;

    use super::*;

    #[limited::test(start_paused = true)]
    async fn a_refresh_starts_once_and_not_before_it_is_due() {
        let loaded = Moment::now();
        let times = Times {
            loaded,
            refresh: loaded + Duration::from_secs(9),
            deadline: loaded + Duration::from_secs(10),
        };
        let hash = KeyHash::of("MARI");
        let entry = Entry::new(hash, (0_u64, 8), (Validity::LocalOnly, None), times);
        assert!(!entry.start_refresh(Moment::now()));
        tokio::time::advance(Duration::from_secs(9)).await;
        assert!(entry.start_refresh(Moment::now()));
        assert!(!entry.start_refresh(Moment::now()));
    }
}
