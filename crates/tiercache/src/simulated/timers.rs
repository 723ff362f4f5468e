//! Times and timers by the clock of the current process.

use std::ops::{Add, Sub};
use std::time::Duration;

use crate::simulated::Process;
use crate::simulated::clock::{Clock, narrow};

fn with_clock<T>(read: impl FnOnce(&Clock) -> T) -> T {
    match Process::current() {
        Some(process) => process.tasks(|tasks| read(&tasks.clock)),
        None => read(&Clock::default()),
    }
}

/// Nanoseconds of the clock of the current process.
pub(crate) fn nanos() -> u64 {
    with_clock(Clock::now)
}

/// A time of the clock of a process, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instant(u64);

impl Instant {
    pub(crate) fn now() -> Self {
        Self(nanos())
    }

    pub(crate) fn elapsed(&self) -> Duration {
        Self::now() - *self
    }

    pub(crate) fn saturating_duration_since(&self, earlier: Self) -> Duration {
        *self - earlier
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(narrow(duration.as_nanos())))
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// The error of a timeout.
#[derive(Debug)]
pub(crate) struct Elapsed;

pub(crate) async fn sleep(duration: Duration) {
    sleep_until(Instant::now() + duration).await;
}

async fn sleep_until(deadline: Instant) {
    loop {
        // At least once, as Tokio's: a sleep may be zero.
        let left = deadline.saturating_duration_since(Instant::now());
        let left = with_clock(|clock| clock.to_world(narrow(left.as_nanos())));
        tokio::time::sleep(left).await;
        if Instant::now() >= deadline {
            return;
        }
    }
}

pub(crate) async fn timeout_at<F: Future>(
    deadline: Instant,
    future: F,
) -> Result<F::Output, Elapsed> {
    tokio::select! {
        biased;
        output = future => Ok(output),
        () = sleep_until(deadline) => Err(Elapsed),
    }
}

pub(crate) async fn timeout<F: Future>(
    duration: Duration,
    future: F,
) -> Result<F::Output, Elapsed> {
    timeout_at(Instant::now() + duration, future).await
}
