//! HTTP request counters by status class and duration, kept at the edge: two atomic additions a
//! request, no look-up and no allocation.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;

/// The upper bounds of the histogram's buckets: in microseconds, and in seconds as Prometheus
/// writes them. A further bucket counts longer requests.
const BOUNDS: [(u64, &str); 13] = [
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
];
/// The status classes; the position is the first digit less one.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The counters of all requests since the start.
#[derive(Default)]
pub(super) struct HttpMetrics {
    /// Responses by status class and bucket.
    responses: [[AtomicU64; BOUNDS.len() + 1]; CLASSES.len()],
    micros: AtomicU64,
    refused: AtomicU64,
}

/// The duration histogram.
pub(super) struct Durations {
    /// Cumulative counts: each upper bound in seconds, with the responses at or below it.
    pub(super) buckets: Vec<(&'static str, u64)>,
    pub(super) count: u64,
    pub(super) sum: Duration,
}

impl HttpMetrics {
    /// Counts a response.
    pub(super) fn record(&self, status: StatusCode, elapsed: Duration) {
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        let slot = BOUNDS.partition_point(|(bound, _)| *bound < micros);
        if let Some(count) = self.responses.get(class).and_then(|class| class.get(slot)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// Counts a request that was refused because too many were in flight.
    pub(super) fn record_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// The refused requests.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// The responses by status class.
    pub(super) fn by_class(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self
            .responses
            .iter()
            .map(|class| class.iter().map(get).sum());
        CLASSES.into_iter().zip(counts)
    }

    /// The duration histogram of all responses.
    pub(super) fn durations(&self) -> Durations {
        let mut count = 0;
        let mut buckets = Vec::with_capacity(BOUNDS.len());
        for slot in 0..=BOUNDS.len() {
            let in_slot = self.responses.iter().filter_map(|class| class.get(slot));
            count += in_slot.map(get).sum::<u64>();
            if let Some((_, bound)) = BOUNDS.get(slot) {
                buckets.push((*bound, count));
            }
        }
        Durations {
            buckets,
            count,
            sum: Duration::from_micros(get(&self.micros)),
        }
    }
}

fn get(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_counted_in_its_class_and_in_each_bucket_above_it() {
        let metrics = HttpMetrics::default();
        for (status, micros) in [(200, 500), (200, 501), (304, 5_000_001), (503, 0)] {
            let status = StatusCode::from_u16(status).unwrap();
            metrics.record(status, Duration::from_micros(micros));
        }
        let by_class: Vec<_> = metrics.by_class().map(|(_, count)| count).collect();
        assert_eq!(by_class, [0, 2, 1, 0, 1]);
        let durations = metrics.durations();
        assert_eq!(durations.buckets[0], ("0.0005", 2));
        assert_eq!(durations.buckets[1], ("0.001", 3));
        assert_eq!(durations.buckets[12], ("5", 3));
        assert_eq!(durations.count, 4);
        assert_eq!(durations.sum, Duration::from_micros(5_001_002));
    }

    #[test]
    fn the_bounds_are_equal_in_both_units_and_sorted() {
        for (micros, seconds) in BOUNDS {
            assert_eq!(micros as f64 / 1e6, seconds.parse::<f64>().unwrap());
        }
        assert!(BOUNDS.is_sorted());
    }
}
