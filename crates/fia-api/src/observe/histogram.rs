//! A histogram of durations.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds of the buckets: in microseconds, and in seconds as Prometheus writes them. A
/// hit in memory takes tens of microseconds; a response begins within 14 s.
pub const BOUNDS: [(u64, &str); 15] = [
    (100, "0.0001"),
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (2_500_000, "2.5"),
    (5_000_000, "5"),
    (15_000_000, "15"),
];

/// A histogram of durations with the buckets of [`BOUNDS`], and one for longer durations.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

/// The content of a histogram.
#[derive(Debug, PartialEq)]
pub struct Snapshot {
    /// Cumulative counts: each upper bound in seconds, with the durations at or below it.
    pub buckets: Vec<(&'static str, u64)>,
    /// The number of durations.
    pub count: u64,
    /// The sum of the durations.
    pub sum: Duration,
}

impl Histogram {
    /// Adds a duration.
    pub fn record(&self, elapsed: Duration) {
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        let slot = BOUNDS.partition_point(|(bound, _)| *bound < micros);
        if let Some(bucket) = self.buckets.get(slot) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// The current content.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut counts = self
            .buckets
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        let mut count = 0;
        let mut buckets = Vec::with_capacity(BOUNDS.len());
        for (bound, in_bucket) in BOUNDS.iter().map(|(_, bound)| bound).zip(&mut counts) {
            count += in_bucket;
            buckets.push((*bound, count));
        }
        Snapshot {
            buckets,
            count: count + counts.sum::<u64>(),
            sum: Duration::from_micros(self.micros.load(Ordering::Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_counted_in_each_bucket_above_it() {
        let histogram = Histogram::default();
        for micros in [500, 501, 15_000_001, 0] {
            histogram.record(Duration::from_micros(micros));
        }
        let snapshot = histogram.snapshot();
        assert_eq!(snapshot.buckets[0], ("0.0001", 1));
        assert_eq!(snapshot.buckets[1], ("0.0005", 2));
        assert_eq!(snapshot.buckets[2], ("0.001", 3));
        assert_eq!(snapshot.buckets[14], ("15", 3));
        assert_eq!(snapshot.count, 4);
        assert_eq!(snapshot.sum, Duration::from_micros(15_001_002));
    }

    #[test]
    fn the_bounds_are_equal_in_both_units_and_sorted() {
        for (micros, seconds) in BOUNDS {
            assert_eq!(micros as f64 / 1e6, seconds.parse::<f64>().unwrap());
        }
        assert!(BOUNDS.is_sorted());
    }
}
