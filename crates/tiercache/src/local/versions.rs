//! Versions of keys: counters that grow with every change of a key.
//!
//! There are two sets. One counts the writes of this process: a value whose load began at an
//! earlier version may be older than a write that has returned, so a later reader must not get
//! it. The other counts the changes that Valkey pushes: see [`crate::local::coherence`].

use std::sync::atomic::Ordering;

use crate::sync::AtomicU64;

/// 512 KiB of counters: with 10,000 changes of other keys a second, under 1 % of the reads of a
/// key that is read every 50 ms find its counter changed. Keys that share a counter may cause an extra load for each other, but never a stale value.
const STRIPES: usize = 1 << STRIPE_BITS;
const STRIPE_BITS: u32 = if cfg!(loom) { 1 } else { 16 };

/// The versions of all keys, striped by hash.
pub(crate) struct KeyVersions(Box<[AtomicU64]>);

impl KeyVersions {
    pub(crate) fn new() -> Self {
        Self((0..STRIPES).map(|_| AtomicU64::new(0)).collect())
    }

    /// The current version of a key.
    #[inline]
    pub(crate) fn get(&self, key: KeyHash) -> u64 {
        // Acquire/Release: a reader that knows of a write must see its bump.
        self.stripe(key).load(Ordering::Acquire)
    }

    /// Starts a new version of a key, after a change of it has taken effect.
    pub(crate) fn bump(&self, key: KeyHash) {
        self.stripe(key).fetch_add(1, Ordering::AcqRel);
    }

    /// Starts a new version of every key.
    pub(crate) fn bump_all(&self) {
        for version in &self.0 {
            version.fetch_add(1, Ordering::AcqRel);
        }
    }

    #[inline]
    fn stripe(&self, key: KeyHash) -> &AtomicU64 {
        &self.0[key.index(STRIPES)]
    }
}

/// A key's hash (FNV-1a). It is incremental: a namespace hashes its prefix once, and each request
/// only the name that follows, without allocating the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyHash(u64);

impl KeyHash {
    #[inline]
    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    pub(crate) fn of(key: &str) -> Self {
        Self::of_bytes(key.as_bytes())
    }

    /// As [`of`](Self::of), for a key that may not be UTF-8.
    pub(crate) fn of_bytes(key: &[u8]) -> Self {
        Self(0xcbf2_9ce4_8422_2325).then_bytes(key)
    }

    /// The index of this key among `len` stripes, a power of two: the top bits after a
    /// multiplication, since FNV leaves the last bytes in the low bits.
    #[inline]
    pub(crate) fn index(self, len: usize) -> usize {
        (self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - len.trailing_zeros())) as usize
    }

    /// The hash of the bytes so far, followed by `more`.
    #[inline]
    pub(crate) fn then(self, more: &str) -> Self {
        self.then_bytes(more.as_bytes())
    }

    #[inline]
    fn then_bytes(self, more: &[u8]) -> Self {
        Self(more.iter().fold(self.0, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        }))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_incremental() {
        assert_eq!(KeyHash::of("spec:").then("MARI"), KeyHash::of("spec:MARI"));
        assert_ne!(KeyHash::of("spec:MARI"), KeyHash::of("spec:LET"));
    }

    #[test]
    fn a_bump_changes_the_version_of_its_key() {
        let versions = KeyVersions::new();
        let (mari, before) = (KeyHash::of("MARI"), versions.get(KeyHash::of("MARI")));
        versions.bump(mari);
        assert_ne!(versions.get(mari), before);
    }

    #[test]
    fn similar_keys_spread_over_the_stripes() {
        let spec = KeyHash::of("spec:");
        let stripes: std::collections::HashSet<usize> = (0..100)
            .map(|i| spec.then(&format!("I{i}")).index(STRIPES))
            .collect();
        assert!(stripes.len() > 85, "only {} of 100", stripes.len());
    }
}

#[cfg(all(test, loom))]
#[expect(clippy::unwrap_used, reason = "a test says where it fails")]
mod every_interleaving {
    use std::sync::Arc;

    use loom::model;
    use loom::thread;

    use super::*;
    use crate::sync::{Mutex, lock};

    /// A remote value and a local copy. Its accesses are relaxed: a network is no memory barrier.
    struct Copied {
        versions: KeyVersions,
        key: KeyHash,
        value: AtomicU64,
        copy: Mutex<Option<(u64, u64)>>,
    }

    impl Copied {
        fn new() -> Arc<Self> {
            Arc::new(Self {
                versions: KeyVersions::new(),
                key: KeyHash::of("MARI"),
                value: AtomicU64::new(0),
                copy: Mutex::new(None),
            })
        }

        /// A fetch.
        fn take_copy(&self) {
            let stamp = self.versions.get(self.key);
            let value = self.value.load(Ordering::Relaxed);
            *lock(&self.copy) = Some((value, stamp));
        }

        /// A local hit, if the copy is valid.
        fn valid(&self) -> Option<u64> {
            let (value, stamp) = (*lock(&self.copy))?;
            (stamp == self.versions.get(self.key)).then_some(value)
        }

        /// A write, or a change whose push has arrived.
        fn change(&self, value: u64) {
            self.value.store(value, Ordering::Relaxed);
            self.versions.bump(self.key);
        }
    }

    #[test]
    fn after_a_bump_no_copy_made_before_the_change_is_valid() {
        model(|| {
            let copied = Copied::new();
            let fetch = thread::spawn({
                let copied = Arc::clone(&copied);
                move || copied.take_copy()
            });
            let write = thread::spawn({
                let copied = Arc::clone(&copied);
                move || copied.change(1)
            });
            write.join().unwrap();
            assert_ne!(copied.valid(), Some(0), "while the fetch may be in flight");
            fetch.join().unwrap();
            assert_ne!(copied.valid(), Some(0), "after the fetch");
        });
    }

    #[test]
    fn a_reader_that_has_seen_a_change_never_sees_the_older_value() {
        model(|| {
            let copied = Copied::new();
            copied.take_copy();
            let write = thread::spawn({
                let copied = Arc::clone(&copied);
                move || copied.change(1)
            });
            let reader = thread::spawn({
                let copied = Arc::clone(&copied);
                move || {
                    if copied.valid().is_none() {
                        copied.take_copy();
                        assert_ne!(copied.valid(), Some(0));
                    }
                }
            });
            reader.join().unwrap();
            write.join().unwrap();
        });
    }

    #[test]
    fn concurrent_bumps_both_count() {
        model(|| {
            let copied = Copied::new();
            let write = thread::spawn({
                let copied = Arc::clone(&copied);
                move || copied.change(1)
            });
            copied.change(2);
            write.join().unwrap();
            assert_eq!(copied.versions.get(copied.key), 2);
        });
    }
}
