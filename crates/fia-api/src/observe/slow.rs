//! The last slow operations, each with the id of the request that it was for.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use crate::observe::request_id;

/// The duration from which on an operation is slow.
pub const SLOW: Duration = Duration::from_millis(100);
/// The number of slow operations that are kept.
const KEPT: usize = 20;

/// A slow operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlowOperation {
    /// When it ended.
    pub at: SystemTime,
    /// Its duration.
    pub elapsed: Duration,
    /// Whether it failed.
    pub is_failed: bool,
    /// The id of the request that it was for, as in the log; `None` for background work.
    pub request_id: Option<String>,
}

/// The last slow operations of one kind.
#[derive(Debug, Default)]
pub struct SlowOperations(Mutex<VecDeque<SlowOperation>>);

impl SlowOperations {
    /// Keeps an operation that has just ended if it was slow.
    pub fn record(&self, elapsed: Duration, is_failed: bool) {
        if elapsed < SLOW {
            return;
        }
        let operation = SlowOperation {
            at: SystemTime::now(),
            elapsed,
            is_failed,
            request_id: request_id::current(),
        };
        let mut kept = self.0.lock();
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(operation);
    }

    /// The kept operations, the last one last.
    #[must_use]
    pub fn list(&self) -> Vec<SlowOperation> {
        self.0.lock().iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_slow_operations_are_kept() {
        let slow = SlowOperations::default();
        slow.record(SLOW - Duration::from_millis(1), true);
        assert!(slow.list().is_empty());
        for extra in 0..25 {
            slow.record(SLOW + Duration::from_millis(extra), false);
        }
        let kept = slow.list();
        assert_eq!(kept.len(), KEPT);
        assert_eq!(kept[0].elapsed, SLOW + Duration::from_millis(5));
        assert_eq!(kept[19].elapsed, SLOW + Duration::from_millis(24));
        assert_eq!(kept[0].request_id, None);
    }
}
