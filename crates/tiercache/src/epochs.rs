//! How often something has happened to each key.
//!
//! Whoever starts to read notes the epoch of the key. Of the writes made from here: a value
//! whose load began in an earlier epoch may be older than a write that has returned, so it is
//! not for that reader. Of the changes in the shared level: see [`crate::coherence`].

use std::sync::atomic::Ordering;

use crate::sync::AtomicU64;

/// Two keys that share a counter cost each other a repeated load, never a wrong answer.
const STRIPES: usize = 1 << STRIPE_BITS;
const STRIPE_BITS: u32 = if cfg!(feature = "loom") { 1 } else { 10 };

/// The epochs of all keys, striped by hash.
pub(crate) struct Epochs(Box<[AtomicU64]>);

impl Epochs {
    pub(crate) fn new() -> Self {
        Self((0..STRIPES).map(|_| AtomicU64::new(0)).collect())
    }

    /// The epoch of a key now.
    pub(crate) fn of(&self, key: KeyHash) -> u64 {
        // Acquire/Release: a reader that was told of a write must see the bump before it.
        self.stripe(key).load(Ordering::Acquire)
    }

    /// Ends the epoch of a key: a change of it has taken effect.
    pub(crate) fn bump(&self, key: KeyHash) {
        self.stripe(key).fetch_add(1, Ordering::AcqRel);
    }

    fn stripe(&self, key: KeyHash) -> &AtomicU64 {
        &self.0[key.stripe()]
    }
}

/// A key's hash (FNV-1a), which can be computed piece by piece: a class hashes its prefix once
/// and each request only the name that follows, without putting the two together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyHash(u64);

impl KeyHash {
    pub(crate) fn of(key: &str) -> Self {
        Self::of_bytes(key.as_bytes())
    }

    /// As [`of`](Self::of), of a key that may be no text.
    pub(crate) fn of_bytes(key: &[u8]) -> Self {
        Self(0xcbf2_9ce4_8422_2325).then_bytes(key)
    }

    /// FNV leaves the last bytes in the low bits; a multiplication carries them to the top.
    fn stripe(self) -> usize {
        (self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - STRIPE_BITS)) as usize
    }

    /// The hash of what was hashed so far, followed by `more`.
    pub(crate) fn then(self, more: &str) -> Self {
        self.then_bytes(more.as_bytes())
    }

    fn then_bytes(self, more: &[u8]) -> Self {
        Self(more.iter().fold(self.0, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        }))
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;

    #[test]
    fn a_key_hashes_alike_whole_and_in_pieces() {
        assert_eq!(KeyHash::of("spec:").then("MARI"), KeyHash::of("spec:MARI"));
        assert_ne!(KeyHash::of("spec:MARI"), KeyHash::of("spec:LET"));
    }

    #[test]
    fn a_bump_ends_the_epoch_of_its_key() {
        let epochs = Epochs::new();
        let (mari, before) = (KeyHash::of("MARI"), epochs.of(KeyHash::of("MARI")));
        epochs.bump(mari);
        assert_ne!(epochs.of(mari), before);
    }

    #[test]
    fn similar_keys_spread_over_the_stripes() {
        let spec = KeyHash::of("spec:");
        let stripes: std::collections::HashSet<usize> = (0..100)
            .map(|i| spec.then(&format!("I{i}")).stripe())
            .collect();
        assert!(stripes.len() > 85, "only {} of 100", stripes.len());
    }
}

#[cfg(all(test, feature = "loom"))]
#[expect(clippy::unwrap_used, reason = "a test says where it fails")]
mod every_interleaving {
    use std::sync::Arc;

    use loom::model;
    use loom::sync::Mutex;
    use loom::sync::atomic::AtomicU64;
    use loom::thread;

    use super::*;

    /// A value elsewhere, and a copy of it kept here. That the value can be seen says nothing
    /// about what else can: nobody's network is a memory barrier.
    struct Copied {
        epochs: Epochs,
        key: KeyHash,
        value: AtomicU64,
        copy: Mutex<Option<(u64, u64)>>,
    }

    impl Copied {
        fn new() -> Arc<Self> {
            Arc::new(Self {
                epochs: Epochs::new(),
                key: KeyHash::of("MARI"),
                value: AtomicU64::new(0),
                copy: Mutex::new(None),
            })
        }

        /// What a flight does.
        fn take_copy(&self) {
            let stamp = self.epochs.of(self.key);
            let value = self.value.load(Ordering::Relaxed);
            *self.copy.lock().unwrap() = Some((value, stamp));
        }

        /// What a reader does.
        fn valid(&self) -> Option<u64> {
            let (value, stamp) = (*self.copy.lock().unwrap())?;
            (stamp == self.epochs.of(self.key)).then_some(value)
        }

        /// What a writer does, or else the server and whoever hears of it.
        fn change(&self, value: u64) {
            self.value.store(value, Ordering::Relaxed);
            self.epochs.bump(self.key);
        }
    }

    #[test]
    fn after_a_bump_no_copy_made_before_the_change_is_valid() {
        model(|| {
            let copied = Copied::new();
            let flight = thread::spawn({
                let copied = Arc::clone(&copied);
                move || copied.take_copy()
            });
            let write = thread::spawn({
                let copied = Arc::clone(&copied);
                move || copied.change(1)
            });
            write.join().unwrap();
            assert_ne!(copied.valid(), Some(0), "while the flight may be under way");
            flight.join().unwrap();
            assert_ne!(copied.valid(), Some(0), "after the flight");
        });
    }

    #[test]
    fn a_reader_that_has_seen_the_change_does_not_see_it_undone() {
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
    fn bumps_of_two_at_once_both_count() {
        model(|| {
            let copied = Copied::new();
            let write = thread::spawn({
                let copied = Arc::clone(&copied);
                move || copied.change(1)
            });
            copied.change(2);
            write.join().unwrap();
            assert_eq!(copied.epochs.of(copied.key), 2);
        });
    }
}
