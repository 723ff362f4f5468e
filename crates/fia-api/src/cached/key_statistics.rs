//! Statistics of single keys, for operators: those with the most hits, bytes and load time.
//!
//! Hits are sampled, so that counting costs nothing that can be measured: on average every 16th
//! is counted, as 16. The distance is random: with a fixed one, a client that reads 16 keys in
//! turn would have one of them counted.

use std::cell::Cell;
use std::fmt::Display;
use std::time::Duration;

use crate::observe::{TopKey, TopKeys};

/// The average number of hits for each that is counted.
const SAMPLING: u32 = 16;

thread_local! {
    /// The number of hits before the next one that is counted, by any cache of this thread.
    static SKIPPED: Cell<u32> = const { Cell::new(0) };
}

/// Statistics of keys since the start.
#[derive(Debug, Default)]
pub struct KeyStatistics {
    hits: TopKeys,
    bytes: TopKeys,
    load_micros: TopKeys,
}

/// The order of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyOrder {
    /// By hits, estimated from samples.
    Hits,
    /// By the size of the value that was loaded last, in bytes.
    Bytes,
    /// By the sum of the durations of their loads, in microseconds.
    LoadTime,
}

impl KeyStatistics {
    /// Counts a hit, if it is the turn of this one.
    pub(super) fn hit(&self, key: impl Display) {
        let skipped = SKIPPED.get();
        if skipped > 0 {
            return SKIPPED.set(skipped - 1);
        }
        SKIPPED.set(rand::random_range(0..2 * SAMPLING - 1));
        self.hits.add(&key.to_string(), SAMPLING.into());
    }

    /// Records a load, with the size of its value if it succeeded.
    pub(super) fn loaded(&self, key: &str, elapsed: Duration, bytes: Option<usize>) {
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        self.load_micros.add(key, micros);
        if let Some(bytes) = bytes {
            self.bytes.set(key, bytes as u64);
        }
    }

    /// The first keys in this order.
    #[must_use]
    pub fn top(&self, order: KeyOrder, limit: usize) -> Vec<TopKey> {
        match order {
            KeyOrder::Hits => &self.hits,
            KeyOrder::Bytes => &self.bytes,
            KeyOrder::LoadTime => &self.load_micros,
        }
        .list(limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_of_hits_is_unbiased() {
        let keys = KeyStatistics::default();
        let names: Vec<String> = (0..16).map(|name| name.to_string()).collect();
        for round in 0..32_000_usize {
            keys.hit(&names[round % names.len()]);
        }
        let found = keys.top(KeyOrder::Hits, 100);
        assert_eq!(found.len(), names.len());
        for key in found {
            // 2,000 hits each; the standard deviation is about 180.
            assert!((1_000..3_000).contains(&key.amount), "{key:?}");
        }
    }
}
