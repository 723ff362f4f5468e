//! Handles that hold an entry of the store, and so read it without a look-up.
//!
//! An entry that leaves the store (replaced, removed or evicted) must leave every handle, too: a
//! later read must not return it, and its memory must become free. So it knows the handles that
//! hold it. Whether it is *current* is checked at every read, as that of one in the store.

use std::sync::{Arc, Weak};

use crate::local::versions::KeyHash;
use crate::sync::{Mutex, Slot, lock};

/// The key of a handle, and the entry that it holds.
pub(crate) struct Held<T> {
    pub(crate) name: Box<str>,
    pub(crate) hash: KeyHash,
    entry: Slot<T>,
}

impl<T> Held<T> {
    /// Holds nothing yet.
    pub(crate) fn new(name: &str, hash: KeyHash) -> Self {
        Self {
            name: name.into(),
            hash,
            entry: Slot::new(),
        }
    }

    /// Calls `f` with the entry, if one is held.
    #[inline]
    pub(crate) fn with<R>(&self, f: impl FnOnce(&T) -> Option<R>) -> Option<R> {
        self.entry.with(f)
    }

    /// Whether this entry is held.
    pub(crate) fn is(&self, entry: &Arc<T>) -> bool {
        self.with(|held| std::ptr::eq(held, &raw const **entry).then_some(()))
            .is_some()
    }
}

/// The handles that hold an entry; `None` once it has left the store.
pub(crate) struct Holders<T>(Mutex<Option<Vec<Weak<Held<T>>>>>);

impl<T> Holders<T> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Some(Vec::new())))
    }

    /// Lets a handle hold the entry, whose holders these are, unless it has left the store.
    pub(crate) fn add(&self, held: &Arc<Held<T>>, entry: &Arc<T>) {
        let mut holders = lock(&self.0);
        let Some(holders) = holders.as_mut() else {
            return;
        };
        if holders.len() == holders.capacity() {
            holders.retain(|held| held.strong_count() > 0);
        }
        holders.push(Arc::downgrade(held));
        // Within the lock: a release that follows finds it.
        held.entry.set(Some(Arc::clone(entry)));
    }

    /// Empties the handles. One that holds another entry by now looks that one up again.
    pub(crate) fn release(&self) {
        let holders = lock(&self.0).take().unwrap_or_default();
        for held in holders.iter().filter_map(Weak::upgrade) {
            held.entry.set(None);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn nothing() -> Held<u64> {
        Held::new("MARI", KeyHash::of("MARI"))
    }

    fn value(held: &Held<u64>) -> Option<u64> {
        held.with(|value| Some(*value))
    }

    #[test]
    fn an_entry_is_held_until_it_leaves_the_store() {
        let (holders, entry, held) = (Holders::new(), Arc::new(7), Arc::new(nothing()));
        assert_eq!(value(&held), None);
        holders.add(&held, &entry);
        assert_eq!(value(&held), Some(7));
        assert!(held.is(&entry));
        assert!(!held.is(&Arc::new(7)));
        holders.release();
        assert_eq!(value(&held), None);
        holders.add(&held, &entry);
        assert_eq!(value(&held), None);
        assert_eq!(Arc::strong_count(&entry), 1);
    }

    #[test]
    fn handles_that_were_dropped_are_forgotten() {
        let (holders, entry) = (Holders::new(), Arc::new(7));
        for _ in 0..10_000 {
            holders.add(&Arc::new(nothing()), &entry);
        }
        assert!(lock(&holders.0).as_ref().unwrap().capacity() < 10);
        assert_eq!(Arc::strong_count(&entry), 1);
    }
}

#[cfg(all(test, loom))]
mod every_interleaving {
    use std::sync::atomic::Ordering;

    use loom::model;
    use loom::thread;

    use super::*;
    use crate::sync::AtomicU64;

    #[test]
    fn no_handle_returns_an_entry_after_it_has_left_the_store() {
        model(|| {
            let (holders, entry) = (Arc::new(Holders::new()), Arc::new(7_u64));
            let held = Arc::new(Held::new("MARI", KeyHash::of("MARI")));
            let released = Arc::new(AtomicU64::new(0));
            let remover = {
                let (holders, released) = (Arc::clone(&holders), Arc::clone(&released));
                thread::spawn(move || {
                    holders.release();
                    released.store(1, Ordering::Release);
                })
            };
            // It was found in the store before it left.
            holders.add(&held, &entry);
            let has_left = released.load(Ordering::Acquire) == 1;
            let value = held.with(|value| Some(*value));
            assert!(!has_left || value.is_none());
            remover.join().expect("the remover");
            assert_eq!(held.with(|value| Some(*value)), None);
        });
    }
}
