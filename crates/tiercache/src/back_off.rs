//! Pauses between attempts to connect.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(25);
const CAP: Duration = Duration::from_millis(400);

/// Pauses between attempts: doubled each time up to a cap, and a random half of it taken off,
/// so that many replicas do not knock at a returning server in step.
pub(crate) struct BackOff(Duration);

impl BackOff {
    pub(crate) fn new() -> Self {
        Self(FIRST)
    }

    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(CAP);
        pause.mul_f64(rand::random_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_off_grows_to_its_cap_and_is_never_in_step() {
        let mut back_off = BackOff::new();
        let pauses: Vec<Duration> = (0..20).map(|_| back_off.next()).collect();
        assert!(pauses[0] <= FIRST);
        assert!(pauses.iter().all(|pause| *pause <= CAP));
        assert!(pauses[10..].iter().all(|pause| *pause >= CAP / 2));
        assert_ne!(pauses[10], pauses[11]);
    }
}
