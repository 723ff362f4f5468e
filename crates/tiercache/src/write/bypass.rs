//! Prefixes whose keys bypass the shared level because their invalidation is not complete, or was
//! perhaps lost by a failover.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::sync::{Mutex, lock};

/// The prefixes, one for each invalidation.
#[derive(Default)]
pub(crate) struct BypassedPrefixes {
    prefixes: Mutex<Prefixes>,
    /// Their number, to be read without the lock before every fetch.
    count: AtomicUsize,
}

#[derive(Default)]
struct Prefixes {
    incomplete: Vec<Arc<str>>,
    /// Recently completed ones, each with the number of connections that had been lost before: if it
    /// has changed, a failover may have lost the invalidation.
    complete: Vec<(Arc<str>, u64)>,
}

impl BypassedPrefixes {
    /// The number of incomplete invalidations.
    pub(crate) fn count(&self) -> usize {
        lock(&self.prefixes).incomplete.len()
    }

    /// Whether the shared level must be bypassed for this key. `losses` is the number of connections
    /// that have been lost.
    pub(crate) fn contains(&self, key: &str, losses: impl FnOnce() -> u64) -> bool {
        if self.count.load(Ordering::Acquire) == 0 {
            return false;
        }
        let (prefixes, losses) = (lock(&self.prefixes), losses());
        let is_lost =
            |(prefix, before): &(Arc<str>, u64)| *before != losses && key.starts_with(&**prefix);
        let mut incomplete = prefixes.incomplete.iter();
        incomplete.any(|prefix| key.starts_with(&**prefix)) || prefixes.complete.iter().any(is_lost)
    }

    pub(crate) fn add(&self, prefix: &Arc<str>) {
        self.change(|prefixes| prefixes.incomplete.push(Arc::clone(prefix)));
    }

    /// Ends one addition of the prefix.
    pub(crate) fn remove(&self, prefix: &str) {
        self.change(|prefixes| prefixes.remove(prefix));
    }

    /// Ends one addition of the prefix, whose invalidation is complete. It began after so many
    /// losses.
    pub(crate) fn complete(&self, prefix: &Arc<str>, losses: u64) {
        self.change(|prefixes| {
            prefixes.complete.push((Arc::clone(prefix), losses));
            prefixes.remove(prefix);
        });
    }

    /// A complete invalidation was repeated after further losses; `None` if it is no longer
    /// necessary.
    pub(crate) fn repeated(&self, prefix: &str, before: u64, losses: Option<u64>) {
        self.change(|prefixes| {
            let is_it = |(of, at): &(Arc<str>, u64)| **of == *prefix && *at == before;
            let Some(i) = prefixes.complete.iter().position(is_it) else {
                return;
            };
            match losses {
                Some(losses) => prefixes.complete[i].1 = losses,
                None => drop(prefixes.complete.swap_remove(i)),
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut Prefixes)) {
        let mut prefixes = lock(&self.prefixes);
        change(&mut prefixes);
        let count = prefixes.incomplete.len() + prefixes.complete.len();
        self.count.store(count, Ordering::Release);
    }
}

impl Prefixes {
    fn remove(&mut self, prefix: &str) {
        let mut incomplete = self.incomplete.iter();
        if let Some(i) = incomplete.position(|other| **other == *prefix) {
            self.incomplete.swap_remove(i);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_bypassed_until_each_of_its_invalidations_has_ended() {
        let (bypassed, prefix) = (BypassedPrefixes::default(), Arc::from("user:"));
        bypassed.add(&prefix);
        bypassed.add(&prefix);
        assert!(bypassed.contains("user:7", || 0) && !bypassed.contains("org:7", || 0));
        bypassed.remove("user:");
        assert!(bypassed.contains("user:7", || 0));
        bypassed.remove("user:");
        assert!(!bypassed.contains("user:7", || 0));
        assert_eq!(bypassed.count(), 0);
    }

    #[test]
    fn a_complete_invalidation_is_repeated_after_a_loss() {
        let (bypassed, prefix) = (BypassedPrefixes::default(), Arc::from("user:"));
        bypassed.add(&prefix);
        bypassed.complete(&prefix, 3);
        assert_eq!(bypassed.count(), 0);
        assert!(!bypassed.contains("user:7", || 3) && bypassed.contains("user:7", || 4));
        assert!(!bypassed.contains("org:7", || 4));
        bypassed.repeated(&prefix, 3, Some(4));
        assert!(!bypassed.contains("user:7", || 4) && bypassed.contains("user:7", || 5));
        bypassed.repeated(&prefix, 4, None);
        assert!(!bypassed.contains("user:7", || 5));
    }
}
