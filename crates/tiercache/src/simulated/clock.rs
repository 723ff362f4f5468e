//! The monotonic clock of each process: its rate differs from that of the world, and it may stand
//! still while the process is suspended, as that of a suspended virtual machine does.

use std::ops::{Add, Sub};
use std::time::Duration;

use crate::simulated::{Process, origin};

const MILLION: u128 = 1_000_000;

/// A clock.
#[derive(Default)]
pub(super) struct Clock {
    /// The difference of its rate from that of the world, in parts per million.
    pub(super) drift: i64,
    /// The nanoseconds, of the world, that it has lost.
    lost: u64,
    /// When it stopped.
    stopped: Option<u64>,
}

impl Clock {
    /// Stops it until [`start`](Self::start).
    pub(super) fn stop(&mut self) {
        self.stopped.get_or_insert(world());
    }

    pub(super) fn start(&mut self) {
        if let Some(stopped) = self.stopped.take() {
            self.lost += world() - stopped;
        }
    }

    fn rate(&self) -> u128 {
        u128::from(1_000_000_u64.saturating_add_signed(self.drift))
    }

    fn now(&self) -> u64 {
        let running = self.stopped.unwrap_or_else(world) - self.lost;
        narrow(u128::from(running) * self.rate() / MILLION)
    }

    /// The duration for the world.
    fn to_world(&self, nanos: u64) -> Duration {
        Duration::from_nanos(narrow((u128::from(nanos) * MILLION).div_ceil(self.rate())))
    }
}

/// Nanoseconds of the world since its start.
fn world() -> u64 {
    let now = tokio::time::Instant::now();
    narrow(now.saturating_duration_since(origin()).as_nanos())
}

fn narrow(nanos: u128) -> u64 {
    u64::try_from(nanos).unwrap_or(u64::MAX)
}

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
