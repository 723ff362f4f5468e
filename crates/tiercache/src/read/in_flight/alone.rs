//! Which keys are read by their callers alone, without a slot (see [`crate::read::lone`]).

use std::sync::atomic::{AtomicBool, Ordering};

use crate::local::versions::KeyHash;

/// Two keys that share a flag may cause a fetch for each other, which is correct, too.
const FLAGS: usize = 1024;

/// A flag for each key, striped by hash.
pub(super) struct LoneReads(Box<[AtomicBool]>);

/// The exclusive right to read a key alone, until it is dropped.
pub(crate) struct LoneRead<'a>(&'a AtomicBool);

impl LoneReads {
    pub(super) fn new() -> Self {
        Self((0..FLAGS).map(|_| AtomicBool::new(false)).collect())
    }

    /// Begins a lone read, unless there is one of this key.
    pub(super) fn begin(&self, key: KeyHash) -> Option<LoneRead<'_>> {
        let flag = &self.0[key.index(FLAGS)];
        // It only decides who reads, and orders nothing.
        (!flag.swap(true, Ordering::Relaxed)).then_some(LoneRead(flag))
    }
}

impl Drop for LoneRead<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn one_read_of_a_key_at_a_time_is_alone() {
        let (lone, key) = (LoneReads::new(), KeyHash::of("spec:MARI"));
        let first = lone.begin(key);
        assert!(first.is_some());
        assert!(lone.begin(key).is_none());
        assert!(lone.begin(KeyHash::of("spec:LET")).is_some());
        drop(first);
        assert!(lone.begin(key).is_some());
    }
}
