//! Reads: from the local cache, or else through the key's next fetch.

pub(crate) mod fetch;
pub(crate) mod get_local;
mod handle;
pub(crate) mod in_flight;
mod load;
mod look_up;
pub(crate) mod outcome;
mod refresh;
mod sample;

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

pub use handle::LocalHandle;

use crate::namespace::{Inner, Namespace, with_name};
use crate::read::in_flight::{Loader, Outcome, Waiter};
use crate::read::outcome::{CachedValue, Failure, Source};

/// The wait for an origin whose last load failed, if there is a last known value to serve.
const UNAVAILABLE_ORIGIN_WAIT: Duration = Duration::from_millis(200);

impl<K, V, E> Namespace<K, V, E>
where
    K: Display + Sync + ?Sized,
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    /// Returns the value of this key, as [`lookup`](Self::lookup) does, without its source.
    ///
    /// # Errors
    /// As [`lookup`](Self::lookup).
    pub async fn get<F, Fut>(&self, key: &K, load: F) -> Result<V, Failure<Arc<E>>>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<V, E>> + Send + 'static,
    {
        Ok(self.lookup(key, load).await?.value)
    }

    /// Returns the value of this key from the local cache, from the shared level, or from `load`,
    /// with its source and age. The loader is called at most once, and not at all if the value
    /// comes from another read's loader. Its errors are not cached.
    ///
    /// The value is never older than a write of the same key that returned before this call: on
    /// this replica, and on other replicas if the write's fence was confirmed and Valkey's push
    /// has arrived (within 1 s). The exception is marked: while the origin is unavailable, the
    /// last known value may be returned as [`Source::Stale`].
    ///
    /// The work runs in a task of its own, so dropping the future cancels nothing for others.
    ///
    /// # Errors
    /// [`Failure::Failed`] with the loader's error, which all waiters share; [`Failure::TimedOut`]
    /// if it took longer than the namespace allows; [`Failure::Panicked`] if it panicked.
    pub async fn lookup<F, Fut>(&self, key: &K, load: F) -> Outcome<V, E>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<V, E>> + Send + 'static,
    {
        let fetch = match with_name(key, |name| self.0.start(name, load)) {
            Start::Hit(hit) => return Ok(hit),
            Start::Fetch(fetch) => fetch,
        };
        let namespace = &self.0;
        let outcome = match fetch.limit {
            None => fetch.outcome.await,
            Some((limit, last_known)) => match timeout(limit, fetch.outcome).await {
                Ok(outcome) => outcome,
                Err(_) => {
                    namespace.counters.stale.one();
                    let aged = with_name(key, |name| namespace.last_known(name));
                    return Ok(aged.unwrap_or(last_known));
                }
            },
        };
        with_name(key, |name| namespace.or_last_known(name, outcome))
    }

    /// As [`lookup`](Self::lookup), but never returns [`Source::Stale`]: while the origin is
    /// unavailable, the loader's error. For values that grant access, and for readers that act on
    /// what they read.
    ///
    /// # Errors
    /// As [`lookup`](Self::lookup).
    pub async fn lookup_current<F, Fut>(&self, key: &K, load: F) -> Outcome<V, E>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<V, E>> + Send + 'static,
    {
        match with_name(key, |name| self.0.start(name, load)) {
            Start::Hit(hit) => Ok(hit),
            Start::Fetch(fetch) => fetch.outcome.await,
        }
    }
}

/// The begin of a read.
enum Start<V, F> {
    Hit(CachedValue<V>),
    Fetch(F),
}

/// A fetch in flight.
struct Pending<V, F> {
    outcome: F,
    /// The time after which the last known value is returned instead.
    limit: Option<(Duration, CachedValue<V>)>,
}

impl<V, E> Inner<V, E>
where
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    /// Returns a local hit, and starts the background work that is due; or enqueues a waiter.
    fn start<F, Fut>(
        self: &Arc<Self>,
        name: &str,
        load: F,
    ) -> Start<V, Pending<V, impl Future<Output = Outcome<V, E>> + use<V, E, F, Fut>>>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<V, E>> + Send + 'static,
    {
        self.counters.requests.one();
        if let Some((value, entry)) = self.get_local(name) {
            let hits = self.counters.local_hits.next();
            let now = Instant::now();
            if entry.start_refresh(now) {
                let (namespace, name) = (Arc::clone(self), name.to_owned());
                let refresh = refresh::run(namespace, name, boxed(load));
                self.shared.spawn(refresh);
            } else if self.is_sample(hits) {
                let (namespace, name) = (Arc::clone(self), name.to_owned());
                tokio::spawn(sample::run(namespace, name, boxed(load)));
            }
            let age = now.saturating_duration_since(entry.times.loaded);
            return Start::Hit(CachedValue::new(value, Source::Local, Some(age)));
        }
        let outcome = self.enqueue(name, boxed(load));
        let limit = self
            .soft_timeout()
            .and_then(|limit| Some((limit, self.last_known(name)?)));
        Start::Fetch(Pending { outcome, limit })
    }

    /// The time after which a last known value is served instead of waiting for a load.
    fn soft_timeout(&self) -> Option<Duration> {
        let policy = self.config.local.as_ref()?;
        let is_unavailable = self.origin_unavailable.load(Ordering::Relaxed);
        let known_outage = is_unavailable.then_some(UNAVAILABLE_ORIGIN_WAIT);
        policy.stale_after.into_iter().chain(known_outage).min()
    }

    /// Enqueues a waiter for the key's next fetch, and starts a task if none serves the key.
    fn enqueue(
        self: &Arc<Self>,
        name: &str,
        load: Loader<V, E>,
    ) -> impl Future<Output = Outcome<V, E>> + use<V, E> {
        let (reply, outcome) = oneshot::channel();
        let waiter = Waiter {
            reply,
            load: Some(load),
            version: self.write_version(name),
        };
        match self.in_flight.enqueue(name, waiter) {
            Some(slot) => {
                let fetch = fetch::serve(Arc::clone(self), slot);
                drop(self.shared.spawn(fetch));
            }
            None => self.counters.queued.one(),
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
