//! The store of the local cache: entries of all namespaces, bounded by their size in bytes.
//!
//! An entry is *current* until its TTL expires or [`crate::local::coherence`] invalidates it.
//! Afterwards it stays until it is evicted, as the *last known* value, which may be served while
//! the origin is unavailable.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::local::entry::{Entry, Key, KeyRef};

/// The overhead of an entry in the store and the allocator, in bytes (an estimate).
const OVERHEAD: u64 = 256;
/// The expected size of an entry in bytes, from which the store derives the size of its index.
const TYPICAL: u64 = 4096;

/// The entries, bounded by their total size in bytes.
pub(crate) struct Store(Cache<Key, Arc<Entry>, ByBytes>);

impl Store {
    pub(crate) fn new(max_bytes: u64) -> Self {
        let entries = usize::try_from(max_bytes / TYPICAL).unwrap_or(usize::MAX);
        Self(Cache::with_weighter(entries.max(64), max_bytes, ByBytes))
    }

    #[inline]
    pub(crate) fn get(&self, key: KeyRef<'_>) -> Option<Arc<Entry>> {
        self.0.get(&key)
    }

    pub(crate) fn insert(&self, entry: Entry) {
        self.0.insert(entry.key.clone(), Arc::new(entry));
    }

    pub(crate) fn remove(&self, key: KeyRef<'_>) {
        self.0.remove(&key);
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

#[derive(Clone)]
struct ByBytes;

impl Weighter<Key, Arc<Entry>> for ByBytes {
    fn weight(&self, key: &Key, entry: &Arc<Entry>) -> u64 {
        OVERHEAD + key.name.len() as u64 + entry.bytes() as u64
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::clock::Moment;
    use crate::local::entry::{Times, Validity};
    use crate::local::versions::KeyHash;

    fn key(namespace: u32, name: &str) -> KeyRef<'_> {
        KeyRef {
            namespace,
            name,
            hash: KeyHash::of(name),
        }
    }

    fn entry(key: KeyRef<'_>, value: u64, bytes: usize) -> Entry {
        let now = Moment::now();
        let times = Times {
            loaded: now,
            refresh: now,
            deadline: now,
        };
        Entry::new(key, (value, bytes), (Validity::LocalOnly, None), times)
    }

    #[test]
    fn entries_are_keyed_by_namespace_and_name() {
        let store = Store::new(1 << 20);
        store.insert(entry(key(0, "MARI"), 1, 8));
        store.insert(entry(key(1, "MARI"), 2, 8));
        let value = |key| store.get(key).and_then(|entry| entry.value::<u64>());
        assert_eq!(value(key(0, "MARI")), Some(1));
        assert_eq!(value(key(1, "MARI")), Some(2));
        assert_eq!(value(key(0, "LET")), None);
        store.remove(key(0, "MARI"));
        assert_eq!(value(key(0, "MARI")), None);
    }

    #[test]
    fn the_total_size_is_bounded() {
        let store = Store::new(1 << 20);
        for i in 0..1000_u32 {
            store.insert(entry(key(i % 7, &i.to_string()), 0, 10_000));
        }
        assert!(store.bytes() <= 1 << 20, "{}", store.bytes());
        assert!(store.entries() > 50, "{}", store.entries());
    }
}
