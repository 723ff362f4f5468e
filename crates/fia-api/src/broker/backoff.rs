//! Exponential backoff with jitter.

use std::time::Duration;

/// An exponential backoff: each delay is about twice the one before, up to a limit. The jitter
/// keeps replicas from retrying at the same time.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    first: Duration,
    max: Duration,
}

impl Backoff {
    /// A backoff that begins with a delay and is limited by another.
    #[must_use]
    pub const fn new(first: Duration, max: Duration) -> Self {
        Self { first, max }
    }

    /// The delay after a number of consecutive failures: between half of the exponential delay
    /// and all of it.
    #[must_use]
    pub fn delay(self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let delay = self.first.saturating_mul(1 << doublings).min(self.max);
        delay.mul_f64(f64::midpoint(1.0, rand::random()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_limit_with_jitter() {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
        for (failures, whole) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 10), (u32::MAX, 10)] {
            let whole = Duration::from_secs(whole);
            let delays: Vec<Duration> = (0..100).map(|_| backoff.delay(failures)).collect();
            assert!(
                delays
                    .iter()
                    .all(|delay| (whole / 2..=whole).contains(delay))
            );
            assert!(delays.iter().any(|delay| delay != &delays[0]));
        }
    }
}
