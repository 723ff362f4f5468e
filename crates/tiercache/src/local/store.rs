//! The store of the local cache: entries of all namespaces, bounded by their size in bytes.
//!
//! An entry is *current* until its TTL expires or [`crate::local::coherence`] invalidates it.
//! Afterwards it stays until it is evicted, as the *last known* value, which may be served while
//! the origin is unavailable.

use std::any::Any;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use quick_cache::sync::Cache;
use quick_cache::{Equivalent, Weighter};
use tokio::time::Instant;

use crate::local::coherence::VersionStamp;
use crate::local::group::GroupStamp;

/// The overhead of an entry in the store and the allocator, in bytes (an estimate).
const OVERHEAD: u64 = 256;
/// The expected size of an entry in bytes, from which the store derives the size of its index.
const TYPICAL: u64 = 4096;

/// The entries, bounded by their total size in bytes.
pub(crate) struct Store(Cache<Key, Arc<Entry>, ByBytes>);

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
pub(crate) struct Entry {
    value: Box<dyn Any + Send + Sync>,
    bytes: usize,
    pub(crate) validity: Validity,
    pub(crate) group: Option<GroupStamp>,
    pub(crate) times: Times,
    refreshing: AtomicBool,
}

/// The times of an entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// When its value was loaded, by the TTL that was left.
    pub(crate) loaded: Instant,
    /// From when on a hit starts an early refresh.
    pub(crate) refresh: Instant,
    /// The end of the TTL.
    pub(crate) deadline: Instant,
}

impl Entry {
    pub(crate) fn new<V: Send + Sync + 'static>(
        value: V,
        bytes: usize,
        (validity, group): (Validity, Option<GroupStamp>),
        times: Times,
    ) -> Self {
        Self {
            value: Box::new(value),
            bytes,
            validity,
            group,
            times,
            refreshing: AtomicBool::new(false),
        }
    }

    /// The size of the value in bytes, as the store counts it.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn value<V: Clone + 'static>(&self) -> Option<V> {
        self.value.downcast_ref::<V>().cloned()
    }

    /// Whether an early refresh is due and has not been started.
    pub(crate) fn is_refresh_due(&self, now: Instant) -> bool {
        now >= self.times.refresh && !self.refreshing.load(Ordering::Relaxed)
    }

    /// As [`is_refresh_due`](Self::is_refresh_due), but true for one caller only.
    pub(crate) fn start_refresh(&self, now: Instant) -> bool {
        self.is_refresh_due(now) && !self.refreshing.swap(true, Ordering::Relaxed)
    }
}

impl Store {
    pub(crate) fn new(max_bytes: u64) -> Self {
        let entries = usize::try_from(max_bytes / TYPICAL).unwrap_or(usize::MAX);
        Self(Cache::with_weighter(entries.max(64), max_bytes, ByBytes))
    }

    pub(crate) fn get(&self, namespace: u32, name: &str) -> Option<Arc<Entry>> {
        self.0.get(&KeyRef { namespace, name })
    }

    pub(crate) fn insert(&self, namespace: u32, name: &str, entry: Entry) {
        let name = name.into();
        self.0.insert(Key { namespace, name }, Arc::new(entry));
    }

    pub(crate) fn remove(&self, namespace: u32, name: &str) {
        self.0.remove(&KeyRef { namespace, name });
    }

    /// Removes the entries of a namespace.
    pub(crate) fn remove_all(&self, namespace: u32) {
        self.0.retain(|key, _| key.namespace != namespace);
    }

    /// The total size of the entries in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.weight()
    }

    pub(crate) fn entries(&self) -> usize {
        self.0.len()
    }
}

#[derive(Clone, PartialEq, Eq)]
struct Key {
    namespace: u32,
    name: Box<str>,
}

struct KeyRef<'a> {
    namespace: u32,
    name: &'a str,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        KeyRef {
            namespace: self.namespace,
            name: &self.name,
        }
        .hash(state);
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

#[derive(Clone)]
struct ByBytes;

impl Weighter<Key, Arc<Entry>> for ByBytes {
    fn weight(&self, key: &Key, entry: &Arc<Entry>) -> u64 {
        OVERHEAD + key.name.len() as u64 + entry.bytes as u64
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::Duration;

    use super::*;

    fn entry(value: u64, bytes: usize) -> Entry {
        let now = Instant::now();
        let times = Times {
            loaded: now,
            refresh: now,
            deadline: now,
        };
        Entry::new(value, bytes, (Validity::LocalOnly, None), times)
    }

    #[test]
    fn entries_are_keyed_by_namespace_and_name() {
        let store = Store::new(1 << 20);
        store.insert(0, "MARI", entry(1, 8));
        store.insert(1, "MARI", entry(2, 8));
        let value = |namespace, name| {
            store
                .get(namespace, name)
                .and_then(|entry| entry.value::<u64>())
        };
        assert_eq!(value(0, "MARI"), Some(1));
        assert_eq!(value(1, "MARI"), Some(2));
        assert_eq!(value(0, "LET"), None);
        store.remove(0, "MARI");
        assert_eq!(value(0, "MARI"), None);
    }

    #[test]
    fn the_total_size_is_bounded() {
        let store = Store::new(1 << 20);
        for i in 0..1000_u32 {
            store.insert(i % 7, &i.to_string(), entry(0, 10_000));
        }
        assert!(store.bytes() <= 1 << 20, "{}", store.bytes());
        assert!(store.entries() > 50, "{}", store.entries());
    }

    #[tokio::test(start_paused = true)]
    async fn a_refresh_starts_once_and_not_before_it_is_due() {
        let loaded = Instant::now();
        let times = Times {
            loaded,
            refresh: loaded + Duration::from_secs(9),
            deadline: loaded + Duration::from_secs(10),
        };
        let entry = Entry::new(0_u64, 8, (Validity::LocalOnly, None), times);
        assert!(!entry.start_refresh(Instant::now()));
        tokio::time::advance(Duration::from_secs(9)).await;
        assert!(entry.start_refresh(Instant::now()));
        assert!(!entry.start_refresh(Instant::now()));
    }
}
