//! Metrics of the connection pool and of the statements.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use opentelemetry::KeyValue;
use opentelemetry::trace::SpanKind;

use crate::observe::{Calls, Failure, Histogram, in_span};
use crate::store::StoreError;
use crate::store::statement::statement_name;

/// Metrics of the connection pool and of the statements.
#[derive(Debug, Default)]
pub struct DatabaseMetrics {
    /// Round trips, and attempts to connect that failed.
    pub calls: Arc<Calls>,
    /// Waits for a connection, the time to open one included.
    pub pool_waits: Histogram,
    pool_timeouts: AtomicU64,
}

impl DatabaseMetrics {
    /// The requests that no connection became free for in time.
    #[must_use]
    pub fn pool_timeouts(&self) -> u64 {
        self.pool_timeouts.load(Ordering::Relaxed)
    }

    /// Awaits and records a round trip.
    pub(super) async fn observe<T>(
        &self,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.calls.observe(work, failure).await
    }

    /// Awaits and records the round trip of a statement, also as a span.
    pub(super) fn observe_statement<T>(
        &self,
        sql: &str,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> impl Future<Output = Result<T, StoreError>> {
        let describe = || {
            let system = KeyValue::new("db.system.name", "postgresql");
            (statement_name(sql), vec![system])
        };
        in_span(SpanKind::Client, describe, self.observe(work))
    }

    /// Awaits and records taking a connection from the pool. Only failures count as calls: a
    /// connection of the pool says nothing about the database.
    pub(super) async fn observe_pool<T>(
        &self,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let start = Instant::now();
        let result = work.await;
        let elapsed = start.elapsed();
        self.pool_waits.record(elapsed);
        match &result {
            Ok(_) => {}
            Err(StoreError::Busy) => {
                self.pool_timeouts.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => self
                .calls
                .record(elapsed, Some((Failure::Unavailable, error))),
        }
        result
    }
}

fn failure(error: &StoreError) -> Option<Failure> {
    match error {
        StoreError::Unavailable(_)
        | StoreError::Saturated(_)
        | StoreError::Failover(_)
        | StoreError::Lost(_) => Some(Failure::Unavailable),
        StoreError::Refused(_) => Some(Failure::Refused),
        // The pool's limit, or a client's value.
        StoreError::Busy | StoreError::BadValue(_) => None,
    }
}
