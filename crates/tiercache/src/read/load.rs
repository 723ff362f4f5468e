//! A load: the call of the loader with its limits, and what is kept of its result.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;

use crate::event::Event;
use crate::namespace::Inner;
use crate::protocol::generation::GroupState;
use crate::read::in_flight::Loader;
use crate::read::outcome::Failure;
use crate::seams::timeout;

/// The type that loaders have in a fetch.
pub(super) fn boxed<V, E, F, Fut>(load: F) -> Loader<V, E>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = Result<V, E>> + Send + 'static,
{
    Box::new(move || Box::pin(load()))
}

impl<V: 'static, E> Inner<V, E> {
    /// Calls a loader of one or several values, within the namespace's limit.
    pub(crate) async fn run<T>(&self, load: Loader<T, E>) -> Result<T, Failure<Arc<E>>> {
        self.counters.loads.one();
        let result = self.run_uncounted(load).await;
        if result.is_err() {
            self.counters.load_failures.one();
        }
        result
    }

    async fn run_uncounted<T>(&self, load: Loader<T, E>) -> Result<T, Failure<Arc<E>>> {
        // Called within the future, so that a panic of the call itself is caught as well.
        let loading = AssertUnwindSafe(async move { load().await }).catch_unwind();
        let result = match self.config.load_timeout {
            None => loading.await,
            Some(limit) => match timeout(limit, loading).await {
                Ok(result) => result,
                Err(_) => return Err(Failure::TimedOut),
            },
        };
        match result {
            Ok(result) => result.map_err(|error| Failure::Failed(Arc::new(error))),
            Err(_) => Err(Failure::Panicked),
        }
    }

    /// Whether the failure means that the origin is unavailable.
    pub(crate) fn is_outage(&self, failure: &Failure<Arc<E>>) -> bool {
        match failure {
            Failure::Failed(error) => (self.config.is_outage)(error),
            Failure::TimedOut => true,
            Failure::Panicked => false,
        }
    }

    /// The payload of a loaded value and its TTL; `None` if it is not to be stored in the shared
    /// level.
    pub(crate) fn to_store(&self, name: &str, value: &V) -> Option<(Bytes, Duration)> {
        Some((
            self.payload_to_store(name, value)?,
            self.config.fill_ttl(value)?,
        ))
    }

    fn payload_to_store(&self, name: &str, value: &V) -> Option<Bytes> {
        let key = || self.key(name);
        let payload = match self.config.encode(value) {
            Ok(payload) => payload,
            Err(error) => {
                self.counters.encode_failures.one();
                tracing::warn!(key = key(), %error, "value not encoded: not cached");
                return None;
            }
        };
        let bytes = payload.len();
        if bytes > self.config.max_payload {
            self.counters.oversized.one();
            let event = Event::PayloadTooLarge { key: &key(), bytes };
            self.shared.settings.events.emit(event);
            return None;
        }
        Some(payload)
    }

    /// Decodes a payload of the shared level; counts one that is rejected, or not current in its
    /// group.
    pub(crate) fn decode(&self, key: &str, payload: &Bytes, group: &GroupState) -> Option<V> {
        let Some(payload) = group.current(payload) else {
            self.counters.outdated.one();
            return None;
        };
        let error = match self.config.decode(&payload) {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        tracing::debug!(key, %error, "payload rejected");
        self.counters.rejected.one();
        let event = Event::PayloadRejected { key };
        self.shared.settings.events.emit(event);
        None
    }

    /// Counts a fill that was refused, and reports a load that took too long for its lease.
    pub(crate) fn fill_refused(&self, name: &str, elapsed: Duration) {
        self.counters.fills_refused.one();
        if elapsed >= self.shared.settings.lease {
            let key = &*self.key(name);
            let event = Event::LoadOutlivedLease { key, elapsed };
            self.shared.settings.events.emit(event);
        }
    }
}
