//! The monotonic clock of each process: its rate differs from that of the world, and it may stand
//! still while the process is suspended, as that of a suspended virtual machine does.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

const MILLION: u128 = 1_000_000;

thread_local! {
    static ORIGIN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// The world of this thread starts.
pub(super) fn begin() {
    ORIGIN.set(Some(Instant::now()));
}

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

    pub(super) fn now(&self) -> u64 {
        let running = self.stopped.unwrap_or_else(world) - self.lost;
        narrow(u128::from(running) * self.rate() / MILLION)
    }

    /// The duration for the world.
    pub(super) fn to_world(&self, nanos: u64) -> Duration {
        Duration::from_nanos(narrow((u128::from(nanos) * MILLION).div_ceil(self.rate())))
    }
}

/// Nanoseconds of the world since its start.
fn world() -> u64 {
    let now = Instant::now();
    let origin = ORIGIN.get().unwrap_or(now);
    narrow(now.saturating_duration_since(origin).as_nanos())
}

pub(super) fn narrow(nanos: u128) -> u64 {
    u64::try_from(nanos).unwrap_or(u64::MAX)
}
