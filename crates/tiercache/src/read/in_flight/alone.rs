//! How many reads of a key run alone, without a slot (see [`crate::read::lone`]).

use std::sync::atomic::{AtomicU8, Ordering};

use crate::local::versions::KeyHash;

/// The most lone reads of a key at a time. Few readers of a key need no task this way, and many
/// share one.
const MAX: u8 = 4;
/// The bit of a counter whose key has more readers than that at a time: they share each read.
const CROWDED: u8 = 1 << 7;
/// Keys that share a counter may cause a fetch for each other, which is correct, too.
const COUNTERS: usize = 1024;

/// A counter for each key, striped by hash.
pub(super) struct LoneReads(Box<[AtomicU8]>);

/// The right to read a key alone, until it is dropped.
pub(crate) struct LoneRead<'a>(&'a AtomicU8);

impl LoneReads {
    pub(super) fn new() -> Self {
        Self((0..COUNTERS).map(|_| AtomicU8::new(0)).collect())
    }

    /// Records how many readers of a key shared the last read.
    pub(super) fn shared(&self, key: KeyHash, readers: u64) {
        let counter = &self.0[key.index(COUNTERS)];
        if readers > u64::from(MAX) {
            counter.fetch_or(CROWDED, Ordering::Relaxed);
        } else {
            counter.fetch_and(!CROWDED, Ordering::Relaxed);
        }
    }

    /// Begins a lone read, unless there are [`MAX`] of this key, or it is crowded.
    pub(super) fn begin(&self, key: KeyHash) -> Option<LoneRead<'_>> {
        let counter = &self.0[key.index(COUNTERS)];
        let one_more = |count| (count < MAX).then_some(count + 1);
        // It only decides who reads, and orders nothing.
        let begun = counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        begun.is_ok().then(|| LoneRead(counter))
    }
}

impl Drop for LoneRead<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn few_reads_of_a_key_at_a_time_are_alone() {
        let (lone, key) = (LoneReads::new(), KeyHash::of("spec:MARI"));
        let mut reads: Vec<_> = (0..MAX).filter_map(|_| lone.begin(key)).collect();
        assert_eq!(reads.len(), usize::from(MAX));
        assert!(lone.begin(key).is_none() && lone.begin(key).is_none());
        assert!(lone.begin(KeyHash::of("spec:LET")).is_some());
        reads.pop();
        assert!(lone.begin(key).is_some());
    }

    #[test]
    fn no_read_is_alone_while_many_share_each() {
        let (lone, key) = (LoneReads::new(), KeyHash::of("spec:MARI"));
        let read = lone.begin(key);
        lone.shared(key, 5);
        assert!(read.is_some() && lone.begin(key).is_none());
        drop(read);
        assert!(lone.begin(key).is_none());
        lone.shared(key, 4);
        let reads: Vec<_> = (0..MAX).filter_map(|_| lone.begin(key)).collect();
        assert_eq!(reads.len(), usize::from(MAX));
    }
}
