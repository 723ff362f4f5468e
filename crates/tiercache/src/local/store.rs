//! The store of the local cache: entries of all namespaces, bounded by their size in bytes.
//!
//! An entry is *current* until its TTL expires or [`crate::local::coherence`] invalidates it.
//! Afterwards it stays until it is evicted, as the *last known* value, which may be served while
//! the origin is unavailable.

use std::any::Any;
use std::sync::Arc;

use quick_cache::sync::Cache;
use quick_cache::{Lifecycle, Weighter};

use crate::local::entry::{Entry, Key, KeyRef};
use crate::seams::StoreHasher;

/// The overhead of an entry in the store and the allocator, in bytes (an estimate).
const OVERHEAD: u64 = 256;
/// The expected size of an entry in bytes, from which the store derives the size of its index.
const TYPICAL: u64 = 4096;

/// The entries, bounded by their total size in bytes.
pub(crate) struct Store(Cache<Key, Arc<dyn Stored>, ByBytes, StoreHasher, Release>);

/// An entry of any type of value.
trait Stored: Any + Send + Sync {
    fn bytes(&self) -> usize;
    fn release(&self);
}

impl<V: Send + Sync + 'static> Stored for Entry<V> {
    fn bytes(&self) -> usize {
        self.bytes()
    }

    fn release(&self) {
        self.release();
    }
}

impl Store {
    pub(crate) fn new(max_bytes: u64) -> Self {
        let entries = usize::try_from(max_bytes / TYPICAL).unwrap_or(usize::MAX);
        let hasher = StoreHasher::default();
        let entries = entries.max(64);
        Self(Cache::with(entries, max_bytes, ByBytes, hasher, Release))
    }

    #[inline]
    pub(crate) fn get<V: Send + Sync + 'static>(&self, key: KeyRef<'_>) -> Option<Arc<Entry<V>>> {
        let entry: Arc<dyn Any + Send + Sync> = self.0.get(&key)?;
        entry.downcast().ok()
    }

    pub(crate) fn insert<V: Send + Sync + 'static>(&self, key: KeyRef<'_>, entry: Entry<V>) {
        self.0.insert(key.to_owned(), Arc::new(entry));
    }

    pub(crate) fn remove(&self, key: KeyRef<'_>) {
        self.0.remove_if(&key, |entry| {
            entry.release();
            true
        });
    }

    /// Removes the entries of a namespace.
    pub(crate) fn remove_all(&self, namespace: u32) {
        self.0.retain(|key, entry| {
            let is_other = key.namespace != namespace;
            if !is_other {
                entry.release();
            }
            is_other
        });
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

impl Weighter<Key, Arc<dyn Stored>> for ByBytes {
    fn weight(&self, key: &Key, entry: &Arc<dyn Stored>) -> u64 {
        OVERHEAD + key.name.len() as u64 + entry.bytes() as u64
    }
}

/// Takes entries that are replaced or evicted from the handles that hold them, before another read
/// can find what replaced them.
#[derive(Clone)]
struct Release;

impl Lifecycle<Key, Arc<dyn Stored>> for Release {
    /// They are dropped after the lock of the store.
    type RequestState = Vec<(Key, Arc<dyn Stored>)>;

    fn on_evict(&self, state: &mut Self::RequestState, key: Key, entry: Arc<dyn Stored>) {
        entry.release();
        state.push((key, entry));
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::clock::Moment;
    use crate::local::entry::{Times, Validity};
    use crate::local::holders::Held;
    use crate::local::versions::KeyHash;

    fn key(namespace: u32, name: &str) -> KeyRef<'_> {
        KeyRef {
            namespace,
            name,
            hash: KeyHash::of(name),
        }
    }

    fn insert(store: &Store, key: KeyRef<'_>, value: u64, bytes: usize) {
        let now = Moment::now();
        let times = Times {
            loaded: now,
            refresh: now,
            deadline: now,
        };
        let validity = (Validity::LocalOnly, None);
        store.insert(key, Entry::new(key.hash, (value, bytes), validity, times));
    }

    #[test]
    fn entries_are_keyed_by_namespace_and_name() {
        let store = Store::new(1 << 20);
        insert(&store, key(0, "MARI"), 1, 8);
        insert(&store, key(1, "MARI"), 2, 8);
        let value = |key| store.get::<u64>(key).map(|entry| entry.value);
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
            insert(&store, key(i % 7, &i.to_string()), 0, 10_000);
        }
        assert!(store.bytes() <= 1 << 20, "{}", store.bytes());
        assert!(store.entries() > 50, "{}", store.entries());
    }

    #[test]
    fn an_entry_that_leaves_the_store_leaves_its_handles() {
        let (store, mari) = (Store::new(1 << 20), key(0, "MARI"));
        let held = Arc::new(Held::new("MARI", mari.hash));
        let value = || held.with(|entry: &Entry<u64>| Some(entry.value));
        let hold = |value| {
            insert(&store, mari, value, 8);
            store.get::<u64>(mari).unwrap().hold(&held);
        };
        hold(1);
        assert_eq!(value(), Some(1));
        insert(&store, mari, 2, 8);
        assert_eq!(value(), None, "replaced");
        hold(3);
        store.remove(mari);
        assert_eq!(value(), None, "removed");
        hold(4);
        store.remove_all(1);
        assert_eq!(value(), Some(4), "another namespace");
        store.remove_all(0);
        assert_eq!(value(), None, "its namespace removed");
        hold(5);
        for i in 0..1000_u32 {
            insert(&store, key(1, &i.to_string()), 0, 10_000);
        }
        assert_eq!(store.get::<u64>(mari).map(|entry| entry.value), value());
        assert_eq!(value(), None, "evicted");
    }
}
