//! When timeouts mean that a connection is lost.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Moment;
use crate::connection::Connection;
use crate::seams::mutant;

/// Consecutive timeouts that close a connection. One may be a hiccup.
const MAX_CONSECUTIVE: u32 = 3;
/// Timeouts within this time count as one: any number of commands wait for the same hiccup.
const TOGETHER: Duration = Duration::from_millis(25);

/// The time of the last timeout that was counted, in nanoseconds.
pub(super) type LastTimeout = AtomicU64;

impl Connection {
    /// Counts a timeout, and closes the connection if there were too many in a row.
    pub(super) fn timed_out(&self) {
        mutant!(SilentConnectionKept => return);
        let now = Moment::now();
        let last = self.last_timeout.load(Ordering::Relaxed);
        if last > 0 && now.since(Moment::from_nanos(last)) < TOGETHER {
            return;
        }
        self.last_timeout.store(now.nanos(), Ordering::Relaxed);
        let before = self.consecutive_timeouts.fetch_add(1, Ordering::Relaxed);
        if before + 1 >= MAX_CONSECUTIVE {
            self.close("consecutive timeouts");
        }
    }
}
