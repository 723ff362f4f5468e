//! The first level: values in the memory of this process.
//!
//! An entry is *current* as long as [`crate::coherence`] says so and its time to live lasts.
//! Beyond that it is kept, as far as memory allows, as the *last known* value, for when the
//! origin is away.

use std::any::Any;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quick_cache::sync::Cache;
use quick_cache::{Equivalent, Weighter};
use tokio::time::Instant;

use crate::coherence::Stamp;

/// What an entry costs beside its name and value, in bytes: about what the store and the
/// allocator need for it.
const OVERHEAD: u64 = 256;
/// The expected size of an entry, in bytes, by which the store sizes its index.
const TYPICAL: u64 = 4096;

/// The values of all classes, bounded by the bytes they take together.
pub(crate) struct Store(Cache<Key, Arc<Entry>, ByBytes>);

/// On what an entry rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It was in the shared level, and the state of things before it was asked for was this.
    Told(Stamp),
    /// It is of a class that the shared level does not have.
    Unshared,
    /// It was right when it was given as an answer, and nobody will tell when it is no more. It
    /// may be a last known value, never a current one.
    Answered,
}

/// A remembered value.
pub(crate) struct Entry {
    value: Box<dyn Any + Send + Sync>,
    bytes: usize,
    pub(crate) standing: Standing,
    /// When the time to live ends, or would have.
    pub(crate) deadline: Instant,
    /// When it is time to load a newer one, if the value is in use.
    pub(crate) refresh_at: Instant,
    refreshing: AtomicBool,
}

impl Entry {
    pub(crate) fn new<V: Send + Sync + 'static>(
        value: V,
        bytes: usize,
        standing: Standing,
        deadline: Instant,
        refresh_before: Duration,
    ) -> Self {
        Self {
            value: Box::new(value),
            bytes,
            standing,
            deadline,
            refresh_at: deadline.checked_sub(refresh_before).unwrap_or(deadline),
            refreshing: AtomicBool::new(false),
        }
    }

    pub(crate) fn value<V: Clone + 'static>(&self) -> Option<V> {
        self.value.downcast_ref::<V>().cloned()
    }

    /// Whether it is time to load a newer value, and nobody does yet.
    pub(crate) fn is_refresh_due(&self, now: Instant) -> bool {
        now >= self.refresh_at && !self.refreshing.load(Ordering::Relaxed)
    }

    /// As [`is_refresh_due`](Self::is_refresh_due), said to one caller only.
    pub(crate) fn claim_refresh(&self, now: Instant) -> bool {
        self.is_refresh_due(now) && !self.refreshing.swap(true, Ordering::Relaxed)
    }
}

impl Store {
    pub(crate) fn new(max_bytes: u64) -> Self {
        let entries = usize::try_from(max_bytes / TYPICAL).unwrap_or(usize::MAX);
        Self(Cache::with_weighter(entries.max(64), max_bytes, ByBytes))
    }

    pub(crate) fn get(&self, class: u32, name: &str) -> Option<Arc<Entry>> {
        self.0.get(&KeyRef { class, name })
    }

    pub(crate) fn insert(&self, class: u32, name: &str, entry: Entry) {
        let name = name.into();
        self.0.insert(Key { class, name }, Arc::new(entry));
    }

    pub(crate) fn remove(&self, class: u32, name: &str) {
        self.0.remove(&KeyRef { class, name });
    }

    /// What the entries take, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.weight()
    }

    pub(crate) fn entries(&self) -> usize {
        self.0.len()
    }
}

#[derive(Clone, PartialEq, Eq)]
struct Key {
    class: u32,
    name: Box<str>,
}

struct KeyRef<'a> {
    class: u32,
    name: &'a str,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        KeyRef {
            class: self.class,
            name: &self.name,
        }
        .hash(state);
    }
}

impl Hash for KeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.class.hash(state);
        self.name.hash(state);
    }
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.class == key.class && *self.name == *key.name
    }
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Key, Arc<Entry>> for ByBytes {
    fn weight(&self, key: &Key, entry: &Arc<Entry>) -> u64 {
        OVERHEAD + key.name.len() as u64 + entry.bytes as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(value: u64, bytes: usize) -> Entry {
        Entry::new(
            value,
            bytes,
            Standing::Unshared,
            Instant::now(),
            Duration::ZERO,
        )
    }

    #[test]
    fn entries_are_told_apart_by_class_and_name() {
        let store = Store::new(1 << 20);
        store.insert(0, "MARI", entry(1, 8));
        store.insert(1, "MARI", entry(2, 8));
        let value = |class, name| {
            store
                .get(class, name)
                .and_then(|entry| entry.value::<u64>())
        };
        assert_eq!(value(0, "MARI"), Some(1));
        assert_eq!(value(1, "MARI"), Some(2));
        assert_eq!(value(0, "LET"), None);
        store.remove(0, "MARI");
        assert_eq!(value(0, "MARI"), None);
    }

    #[test]
    fn the_bytes_of_all_entries_are_bounded() {
        let store = Store::new(1 << 20);
        for i in 0..1000_u32 {
            store.insert(i % 7, &i.to_string(), entry(0, 10_000));
        }
        assert!(store.bytes() <= 1 << 20, "{}", store.bytes());
        assert!(store.entries() > 50, "{}", store.entries());
    }

    #[tokio::test(start_paused = true)]
    async fn a_refresh_is_claimed_once_and_not_too_early() {
        let deadline = Instant::now() + Duration::from_secs(10);
        let entry = Entry::new(
            0_u64,
            8,
            Standing::Unshared,
            deadline,
            Duration::from_secs(1),
        );
        assert!(!entry.claim_refresh(Instant::now()));
        tokio::time::advance(Duration::from_secs(9)).await;
        assert!(entry.claim_refresh(Instant::now()));
        assert!(!entry.claim_refresh(Instant::now()));
    }
}
