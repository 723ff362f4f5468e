//! Backoff between connection attempts.

use std::time::Duration;

use crate::seams::random_range;

const FIRST: Duration = Duration::from_millis(25);
const CAP: Duration = Duration::from_millis(400);

/// Exponential backoff with jitter: each pause doubles up to a cap, less a random half, so that
/// many replicas do not reconnect to a restarted server at the same time.
pub(crate) struct Backoff(Duration);

impl Backoff {
    pub(crate) fn new() -> Self {
        Self(FIRST)
    }

    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(CAP);
        pause.mul_f64(random_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_grows_to_its_cap_with_jitter() {
        let mut backoff = Backoff::new();
        let pauses: Vec<Duration> = (0..20).map(|_| backoff.next()).collect();
        assert!(pauses[0] <= FIRST);
        assert!(pauses.iter().all(|pause| *pause <= CAP));
        assert!(pauses[10..].iter().all(|pause| *pause >= CAP / 2));
        assert_ne!(pauses[10], pauses[11]);
    }
}
