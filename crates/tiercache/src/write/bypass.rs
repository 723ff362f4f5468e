//! Prefixes whose keys bypass the shared level because their invalidation is not complete.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::sync::{Mutex, lock};

/// The prefixes, one for each invalidation.
#[derive(Default)]
pub(crate) struct BypassedPrefixes {
    prefixes: Mutex<Vec<Arc<str>>>,
    /// Their number, to be read without the lock before every fetch.
    count: AtomicUsize,
}

impl BypassedPrefixes {
    /// The number of prefixes.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Whether the shared level must be bypassed for this key.
    pub(crate) fn contains(&self, key: &str) -> bool {
        self.count() > 0
            && lock(&self.prefixes)
                .iter()
                .any(|prefix| key.starts_with(&**prefix))
    }

    pub(crate) fn add(&self, prefix: &Arc<str>) {
        let mut prefixes = lock(&self.prefixes);
        prefixes.push(Arc::clone(prefix));
        self.count.store(prefixes.len(), Ordering::Release);
    }

    /// Ends one addition of the prefix.
    pub(crate) fn remove(&self, prefix: &str) {
        let mut prefixes = lock(&self.prefixes);
        if let Some(i) = prefixes.iter().position(|other| **other == *prefix) {
            prefixes.swap_remove(i);
        }
        self.count.store(prefixes.len(), Ordering::Release);
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
        assert!(bypassed.contains("user:7") && !bypassed.contains("org:7"));
        bypassed.remove("user:");
        assert!(bypassed.contains("user:7"));
        bypassed.remove("user:");
        assert!(!bypassed.contains("user:7"));
        assert_eq!(bypassed.count(), 0);
    }
}
