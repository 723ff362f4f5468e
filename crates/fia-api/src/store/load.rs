//! The load of the connection pool, and the refusal of what it cannot serve in time.
//!
//! The queue is limited by the expected wait: the measured time for which a connection is in use,
//! times the queue's length, divided by the connections. What would wait too long is refused at
//! once, so that what is admitted is served, and no work is discarded after a timeout.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::store::StoreError;

/// The longest expected wait for a connection. Half of the maximum wait: service times vary.
const MAX_EXPECTED_WAIT: Duration = Duration::from_millis(250);
/// The weight of a new measurement in the average, as a divisor.
const WEIGHT: u64 = 8;
/// The interval of log entries about refusals.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// The load of the pool.
#[derive(Debug)]
pub(super) struct Load {
    connections: usize,
    /// Requests that wait for a connection or use one.
    requests: AtomicUsize,
    /// Those of them that stream a result, for seconds.
    streams: AtomicUsize,
    /// The moving average of the time for which a connection is in use, in microseconds.
    service_micros: AtomicU64,
    refused: AtomicU64,
    created: Instant,
    /// The time of the last log entry since `created`, in microseconds.
    logged_micros: AtomicU64,
}

/// The use of the pool by one request, from its wait on.
#[derive(Debug)]
pub(super) struct Usage {
    load: Arc<Load>,
    /// When the connection was taken.
    taken: Option<Instant>,
    is_stream: bool,
}

impl Load {
    pub(super) fn new(connections: usize) -> Arc<Self> {
        Arc::new(Self {
            connections,
            requests: AtomicUsize::default(),
            streams: AtomicUsize::default(),
            service_micros: AtomicU64::default(),
            refused: AtomicU64::default(),
            created: Instant::now(),
            logged_micros: AtomicU64::default(),
        })
    }

    /// Admits a request that is going to wait for a connection.
    pub(super) fn admit(self: &Arc<Self>) -> Result<Usage, StoreError> {
        let usage = Usage {
            load: Arc::clone(self),
            taken: None,
            is_stream: false,
        };
        let requests = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        if self.expected_wait(requests) > MAX_EXPECTED_WAIT {
            self.count_refusal();
            return Err(StoreError::Busy);
        }
        Ok(usage)
    }

    /// The requests that were refused so far.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// The expected wait of the last of these requests.
    fn expected_wait(&self, requests: usize) -> Duration {
        let queue = requests.saturating_sub(self.connections);
        let streams = self.streams.load(Ordering::Relaxed);
        let connections = self.connections.saturating_sub(streams).max(1);
        let service = Duration::from_micros(self.service_micros.load(Ordering::Relaxed));
        service.mul_f64(queue as f64 / connections as f64)
    }

    fn measure(&self, elapsed: Duration) {
        let elapsed = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX / WEIGHT);
        let average = self.service_micros.load(Ordering::Relaxed);
        // A measurement lost to a concurrent one does not matter.
        let average = (average * (WEIGHT - 1) + elapsed) / WEIGHT;
        self.service_micros.store(average, Ordering::Relaxed);
    }

    fn count_refusal(&self) {
        let refused_total = self.refused.fetch_add(1, Ordering::Relaxed) + 1;
        let now = u64::try_from(self.created.elapsed().as_micros()).unwrap_or(u64::MAX);
        let last = self.logged_micros.load(Ordering::Relaxed);
        let interval = Duration::from_micros(now.saturating_sub(last));
        if (interval >= LOG_INTERVAL || refused_total == 1)
            && self
                .logged_micros
                .compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            let service_ms = self.service_micros.load(Ordering::Relaxed) / 1000;
            tracing::warn!(
                refused_total,
                service_ms,
                "database overloaded: requests that would wait too long are refused"
            );
        }
    }
}

impl Usage {
    /// Records that the connection was taken.
    pub(super) fn taken(mut self) -> Self {
        self.taken = Some(Instant::now());
        self
    }

    /// Marks the use as a stream, whose duration depends on its reader.
    pub(super) fn mark_as_stream(&mut self) {
        if !self.is_stream {
            self.is_stream = true;
            self.load.streams.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Usage {
    fn drop(&mut self) {
        self.load.requests.fetch_sub(1, Ordering::Relaxed);
        if self.is_stream {
            self.load.streams.fetch_sub(1, Ordering::Relaxed);
        } else if let Some(taken) = self.taken {
            self.load.measure(taken.elapsed());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(connections: usize, service: Duration) -> Arc<Load> {
        let load = Load::new(connections);
        let micros = u64::try_from(service.as_micros()).unwrap();
        load.service_micros.store(micros, Ordering::Relaxed);
        load
    }

    #[test]
    fn the_queue_is_limited_by_the_expected_wait() {
        // 25 requests wait at most 25 × 20 ms / 2 = 250 ms.
        let load = load(2, Duration::from_millis(20));
        let admitted: Vec<Usage> = (0..27).map(|_| load.admit().unwrap()).collect();
        assert!(matches!(load.admit(), Err(StoreError::Busy)));
        assert_eq!(load.refused(), 1);
        drop(admitted);
        assert_eq!(load.requests.load(Ordering::Relaxed), 0);
        assert!(load.admit().is_ok());
    }

    #[test]
    fn a_free_connection_is_never_refused() {
        let load = load(2, Duration::from_secs(60));
        let _both = [load.admit().unwrap(), load.admit().unwrap()];
        assert!(matches!(load.admit(), Err(StoreError::Busy)));
    }

    #[test]
    fn streams_take_connections_but_do_not_count_as_service_times() {
        let load = load(2, Duration::from_millis(200));
        let mut stream = load.admit().unwrap().taken();
        stream.mark_as_stream();
        let _second = load.admit().unwrap();
        // One connection serves the queue.
        let third = load.admit().unwrap();
        assert!(matches!(load.admit(), Err(StoreError::Busy)));
        drop((stream, third));
        assert_eq!(load.service_micros.load(Ordering::Relaxed), 200_000);
        assert_eq!(load.streams.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_average_follows_the_measurements() {
        let load = load(1, Duration::from_secs(3));
        for _ in 0..40 {
            load.measure(Duration::from_millis(1));
        }
        let average = load.service_micros.load(Ordering::Relaxed);
        assert!((900..25_000).contains(&average), "{average}");
    }
}
