//! Calls to a dependency: durations, failures, and the outcome of the last one.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::observe::{Health, HealthSnapshot, Histogram, SlowOperation, SlowOperations, Snapshot};

/// The kind of a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No connection, or no response in time.
    Unavailable,
    /// A response that blames the dependency itself. Counted as unavailable.
    Faulty,
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
    health: Health,
    slow: SlowOperations,
}

impl Calls {
    /// Awaits a call and records it; `failure` classifies its errors, `None` being an error that
    /// does not concern the dependency.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn observe<T, E: Display>(
        &self,
        call: impl Future<Output = Result<T, E>>,
        failure: impl FnOnce(&E) -> Option<Failure>,
    ) -> Result<T, E> {
        let start = Instant::now();
        let result = call.await;
        let elapsed = start.elapsed();
        match &result {
            Ok(_) => self.record(elapsed, None),
            Err(error) => {
                let failure = failure(error);
                self.record(
                    elapsed,
                    failure.map(|failure| (failure, error as &dyn Display)),
                );
            }
        }
        result
    }

    /// Records a call; a failure with its cause.
    pub fn record(&self, elapsed: Duration, failure: Option<(Failure, &dyn Display)>) {
        self.durations.record(elapsed);
        self.slow.record(elapsed, failure.is_some());
        match failure {
            None => self.health.succeeded(),
            Some((Failure::Unavailable, cause)) => {
                self.unavailable.fetch_add(1, Ordering::Relaxed);
                self.health.failed(cause);
            }
            Some((Failure::Faulty, cause)) => {
                self.unavailable.fetch_add(1, Ordering::Relaxed);
                self.health.faulty(cause);
            }
            Some((Failure::Refused, _)) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                self.health.succeeded();
            }
        }
    }

    /// Whether the dependency responded to the last call; `None` before the first one.
    #[must_use]
    pub fn up(&self) -> Option<bool> {
        self.health().up
    }

    /// The state that the last call found, and the last time that the dependency was unavailable.
    #[must_use]
    pub fn health(&self) -> HealthSnapshot {
        self.health.snapshot()
    }

    /// The last slow calls.
    #[must_use]
    pub fn slow(&self) -> Vec<SlowOperation> {
        self.slow.list()
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
            (Some(Failure::Faulty), false),
        ] {
            let caused = failure.map(|failure| (failure, &"cause" as &dyn Display));
            calls.record(elapsed, caused);
            assert_eq!(calls.up(), Some(up), "{failure:?}");
        }
        assert_eq!(calls.failures(), [("unavailable", 3), ("refused", 1)]);
        assert_eq!(calls.durations().count, 6);
    }
}
