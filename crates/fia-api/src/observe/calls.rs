//! Calls to a dependency: durations, failures, and the outcome of the last one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::observe::{Histogram, Snapshot};

/// The kind of a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No connection, no response in time, or a response that blames the dependency itself.
    Unavailable,
    /// The dependency is reachable and refused the call.
    Refused,
}

/// An operation of a dependency, with its calls.
#[derive(Debug, Clone)]
pub struct Dependency {
    /// The dependency, as its label in metrics.
    pub name: &'static str,
    /// The operation, as its label in metrics.
    pub operation: &'static str,
    /// The calls since the start.
    pub calls: Arc<Calls>,
}

/// The calls of one operation since the start. Calls that their caller cancelled are not counted.
#[derive(Debug, Default)]
pub struct Calls {
    durations: Histogram,
    unavailable: AtomicU64,
    refused: AtomicU64,
    last: AtomicU8,
}

const NONE: u8 = 0;
const FAILED: u8 = 1;
const SUCCEEDED: u8 = 2;

impl Calls {
    /// Awaits a call and records it; `failure` classifies its errors, `None` being an error that
    /// does not concern the dependency.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn observe<T, E>(
        &self,
        call: impl Future<Output = Result<T, E>>,
        failure: impl FnOnce(&E) -> Option<Failure>,
    ) -> Result<T, E> {
        let start = Instant::now();
        let result = call.await;
        self.record(start.elapsed(), result.as_ref().err().and_then(failure));
        result
    }

    /// Records a call.
    pub fn record(&self, elapsed: Duration, failure: Option<Failure>) {
        self.durations.record(elapsed);
        let (counter, last) = match failure {
            None => (None, SUCCEEDED),
            Some(Failure::Unavailable) => (Some(&self.unavailable), FAILED),
            Some(Failure::Refused) => (Some(&self.refused), SUCCEEDED),
        };
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        self.last.store(last, Ordering::Relaxed);
    }

    /// Whether the dependency responded to the last call; `None` before the first one.
    #[must_use]
    pub fn up(&self) -> Option<bool> {
        match self.last.load(Ordering::Relaxed) {
            NONE => None,
            last => Some(last == SUCCEEDED),
        }
    }

    /// The durations of all calls, failed ones included.
    #[must_use]
    pub fn durations(&self) -> Snapshot {
        self.durations.snapshot()
    }

    /// The failed calls by kind.
    #[must_use]
    pub fn failures(&self) -> [(&'static str, u64); 2] {
        [
            ("unavailable", self.unavailable.load(Ordering::Relaxed)),
            ("refused", self.refused.load(Ordering::Relaxed)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_outcome_decides_whether_a_dependency_is_up() {
        let calls = Calls::default();
        assert_eq!(calls.up(), None);
        let elapsed = Duration::from_millis(1);
        for (failure, up) in [
            (None, true),
            (Some(Failure::Unavailable), false),
            (Some(Failure::Refused), true),
            (Some(Failure::Unavailable), false),
            (None, true),
        ] {
            calls.record(elapsed, failure);
            assert_eq!(calls.up(), Some(up), "{failure:?}");
        }
        assert_eq!(calls.failures(), [("unavailable", 2), ("refused", 1)]);
        assert_eq!(calls.durations().count, 5);
    }
}
