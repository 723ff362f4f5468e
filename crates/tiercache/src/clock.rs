//! The clock of the local cache.
//!
//! Every local hit checks the time, and reading a precise clock may cost more than the rest of it.
//! Linux has a coarse one, which is behind by at most one tick of the kernel. It is used in builds
//! without debug assertions; all others use Tokio's clock, which tests can pause.

use std::ops::Add;
use std::time::Duration;

/// More than a coarse clock may be behind: the longest tick of a kernel is 10 ms.
const GRANULARITY: Duration = match cfg!(all(target_os = "linux", not(debug_assertions))) {
    true => Duration::from_millis(20),
    false => Duration::ZERO,
};

/// The time at which the clock begins, in nanoseconds: a year, so that what was loaded before has a
/// time, too.
const ORIGIN: u64 = 365 * 24 * 3_600 * 1_000_000_000;

/// A time of a monotonic clock, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Moment {
    /// A time in the past.
    pub(crate) const PAST: Self = Self(0);

    #[cfg(tiercache_simulation)]
    pub(crate) fn now() -> Self {
        Self(ORIGIN + crate::simulated::timers::nanos())
    }

    #[cfg(all(target_os = "linux", not(debug_assertions), not(tiercache_simulation)))]
    #[inline]
    pub(crate) fn now() -> Self {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
        // Neither is negative.
        Self(ORIGIN + time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
    }

    #[cfg(not(any(tiercache_simulation, all(target_os = "linux", not(debug_assertions)))))]
    pub(crate) fn now() -> Self {
        use std::sync::LazyLock;
        use tokio::time::Instant;

        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        let start = *START;
        Self(ORIGIN) + Instant::now().saturating_duration_since(start)
    }

    #[inline]
    pub(crate) fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    pub(crate) fn nanos(self) -> u64 {
        self.0
    }

    /// Whether it is still to come, however far the clock of `now` is behind.
    #[inline]
    pub(crate) fn is_after(self, now: Self) -> bool {
        now + GRANULARITY < self
    }

    /// The time since an earlier one; zero since a later one.
    #[inline]
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// An earlier time.
    pub(crate) fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(duration)))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    #[inline]
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }
}

/// A duration in nanoseconds; 584 years at most.
#[inline]
fn nanos(duration: Duration) -> u64 {
    let seconds = duration.as_secs().saturating_mul(1_000_000_000);
    seconds.saturating_add(u64::from(duration.subsec_nanos()))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_after_now_only_beyond_the_granularity() {
        let (now, nanosecond) = (Moment::now(), Duration::from_nanos(1));
        assert!(!now.is_after(now));
        assert!(!(now + GRANULARITY).is_after(now));
        assert!((now + GRANULARITY + nanosecond).is_after(now));
        assert!(!Moment::PAST.is_after(now));
    }

    #[test]
    fn durations_are_exact_and_saturate() {
        let (now, second) = (Moment::now(), Duration::from_secs(1));
        assert_eq!((now + second).since(now), second);
        assert_eq!(now.since(now + second), Duration::ZERO);
        assert_eq!((now + second).before(second), now);
        assert_eq!(Moment::PAST.before(second), Moment::PAST);
        assert!((now + Duration::MAX).is_after(now));
    }
}
