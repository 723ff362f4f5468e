//! Reads: from the local cache, or else through the key's next fetch.

pub(crate) mod fetch;
pub(crate) mod get_local;
pub(crate) mod in_flight;
mod look_up;
pub(crate) mod outcome;
mod refresh;
mod sample;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use crate::namespace::Namespace;
use crate::read::in_flight::{Loader, Outcome, Waiter};
use crate::read::outcome::{CachedValue, Failure, Source};

/// The wait for an origin whose last load failed, if there is a last known value to serve.
const UNAVAILABLE_ORIGIN_WAIT: Duration = Duration::from_millis(200);

impl<V, E> Namespace<V, E>
where
    V: Clone + Send + Sync + 'static,
    E: Clone + Send + Sync + 'static,
{
    /// Returns the value of this name from the local cache, from the shared level, or from
    /// `load`. The loader is called at most once, and not at all if the value comes from another
    /// read's loader. Its errors are not cached.
    ///
    /// The value is never older than a [`write`](Self::write) of the same name that returned
    /// before this call: on this replica, and on other replicas if the write's fence was
    /// confirmed and Valkey's push has arrived (within 1 s). The exception is marked: while the
    /// origin is unavailable, the last known value may be returned as [`Source::Stale`].
    ///
    /// The work runs in a task of its own, so dropping the future cancels nothing for others.
    ///
    /// # Errors
    /// [`Failure::Failed`] with the loader's error; [`Failure::Panicked`] if it panicked.
    pub async fn get_or_load<F, Fut>(
        &self,
        name: &str,
        load: F,
    ) -> Result<CachedValue<V>, Failure<E>>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<V, E>> + Send + 'static,
    {
        let namespace = &self.0;
        namespace.counters.requests.one();
        if let Some((value, entry)) = namespace.get_local(name) {
            let hits = namespace.counters.local_hits.next();
            if entry.start_refresh(Instant::now()) {
                let (namespace, name) = (Arc::clone(namespace), name.to_owned());
                tokio::spawn(refresh::run(namespace, name, boxed(load)));
            } else if namespace.is_sample(hits) {
                let (namespace, name) = (Arc::clone(namespace), name.to_owned());
                tokio::spawn(sample::run(namespace, name, boxed(load)));
            }
            return Ok(CachedValue {
                value,
                source: Source::Local,
            });
        }
        let outcome = self.enqueue(name, boxed(load));
        if namespace.origin_unavailable.load(Ordering::Relaxed)
            && let Some(last_known) = namespace.last_known(name)
        {
            let Ok(outcome) = timeout(UNAVAILABLE_ORIGIN_WAIT, outcome).await else {
                namespace.counters.stale.one();
                return Ok(last_known);
            };
            return namespace.or_last_known(name, outcome);
        }
        namespace.or_last_known(name, outcome.await)
    }

    /// Returns the value of this name if it is in the local cache and no background work (early
    /// refresh, sample) is due; otherwise `None`, and the caller continues with
    /// [`get_or_load`](Self::get_or_load). Never waits. The value is as fresh as there.
    pub fn get_local(&self, name: &str) -> Option<V> {
        let namespace = &self.0;
        let (value, entry) = namespace.get_local(name)?;
        let is_work_due = entry.is_refresh_due(Instant::now())
            || namespace.is_sample(namespace.counters.local_hits.get());
        (!is_work_due).then_some(())?;
        namespace.counters.requests.one();
        namespace.counters.local_hits.one();
        Some(value)
    }

    /// Enqueues a waiter for the key's next fetch, and starts a task if none serves the key.
    fn enqueue(
        &self,
        name: &str,
        load: Loader<V, E>,
    ) -> impl Future<Output = Outcome<V, E>> + use<V, E> {
        let (reply, outcome) = oneshot::channel();
        let waiter = Waiter {
            reply,
            load: Some(load),
            version: self.0.write_version(name),
        };
        match self.0.in_flight.enqueue(name, waiter) {
            Some(slot) => drop(tokio::spawn(fetch::serve(Arc::clone(&self.0), slot))),
            None => self.0.counters.queued.one(),
        }
        outcome.map(|outcome| outcome.unwrap_or(Err(Failure::Panicked)))
    }
}

fn boxed<V, E, F, Fut>(load: F) -> Loader<V, E>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = Result<V, E>> + Send + 'static,
{
    Box::new(move || Box::pin(load()))
}
