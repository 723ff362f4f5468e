//! How many requests were answered, with what, and how fast: counted at the edge, with two
//! additions a request and no look-up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;

/// The upper bounds of the durations that are counted together, in microseconds and as
/// Prometheus has them, in seconds. What takes longer is counted on its own.
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
/// The classes of statuses.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// What was answered so far.
#[derive(Default)]
pub(super) struct Traffic {
    /// Answers by class of status and duration.
    answers: [[AtomicU64; BOUNDS.len() + 1]; CLASSES.len()],
    micros: AtomicU64,
    refused: AtomicU64,
}

/// The durations of answers: each bound with the number of those that were not above it.
pub(super) struct Durations {
    pub(super) up_to: Vec<(&'static str, u64)>,
    pub(super) count: u64,
    pub(super) sum: Duration,
}

impl Traffic {
    /// Counts an answer.
    pub(super) fn answered(&self, status: StatusCode, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        let slot = BOUNDS.partition_point(|(bound, _)| *bound < micros);
        if let Some(count) = self.answers.get(class).and_then(|class| class.get(slot)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// Counts a request that was turned away because too many were under way.
    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// The requests that were turned away.
    pub(super) fn refusals(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// The answers by class of status.
    pub(super) fn by_class(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.answers.iter().map(|class| class.iter().map(get).sum());
        CLASSES.into_iter().zip(counts)
    }

    /// The durations of the answers.
    pub(super) fn durations(&self) -> Durations {
        let mut count = 0;
        let mut up_to = Vec::with_capacity(BOUNDS.len());
        for slot in 0..=BOUNDS.len() {
            let here = self.answers.iter().filter_map(|class| class.get(slot));
            count += here.map(get).sum::<u64>();
            if let Some((_, bound)) = BOUNDS.get(slot) {
                up_to.push((*bound, count));
            }
        }
        Durations {
            up_to,
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
    fn an_answer_is_counted_once_in_its_class_and_below_its_bounds() {
        let traffic = Traffic::default();
        for (status, micros) in [(200, 500), (200, 501), (304, 5_000_001), (503, 0)] {
            let status = StatusCode::from_u16(status).unwrap();
            traffic.answered(status, Duration::from_micros(micros));
        }
        let by_class: Vec<_> = traffic.by_class().map(|(_, count)| count).collect();
        assert_eq!(by_class, [0, 2, 1, 0, 1]);
        let durations = traffic.durations();
        assert_eq!(durations.up_to[0], ("0.0005", 2));
        assert_eq!(durations.up_to[1], ("0.001", 3));
        assert_eq!(durations.up_to[12], ("5", 3));
        assert_eq!(durations.count, 4);
        assert_eq!(durations.sum, Duration::from_micros(5_001_002));
    }

    #[test]
    fn the_bounds_say_the_same_in_both_units() {
        for (micros, seconds) in BOUNDS {
            assert_eq!(micros as f64 / 1e6, seconds.parse::<f64>().unwrap());
        }
        assert!(BOUNDS.is_sorted());
    }
}
