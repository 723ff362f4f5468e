//! Reads: from the local cache, or else through the key's next fetch.

pub(crate) mod fetch;
pub(crate) mod get_local;
mod get_shared;
mod handle;
pub(crate) mod in_flight;
mod load;
pub(crate) mod lone;
mod many;
pub(crate) mod outcome;
mod refresh;
mod sample;
mod serve;

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::oneshot;

pub use handle::LocalHandle;

use crate::clock::Moment;
use crate::local::group::Group;
use crate::namespace::{Inner, Namespace, with_name};
use crate::read::fetch::{Fetch, Known};
use crate::read::in_flight::{Loader, Outcome, Waiter};
use crate::read::load::boxed;
use crate::read::outcome::{CachedValue, Failure, Source};
use crate::read::serve::serve;
use crate::seams;
use crate::seams::{mutant, timeout};

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
    /// Dropping the future cancels nothing for others: what they wait for runs in a task of its own.
    ///
    /// # Errors
    /// [`Failure::Failed`] with the loader's error, which all waiters share; [`Failure::TimedOut`]
    /// if it took longer than the namespace allows; [`Failure::Panicked`] if it panicked.
    pub async fn lookup<F, Fut>(&self, key: &K, load: F) -> Outcome<V, E>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<V, E>> + Send + 'static,
    {
        let missed = match self.local(key, load) {
            Ok(hit) => return Ok(hit),
            Err(missed) => missed,
        };
        match self.0.begin(missed).await {
            Start::Hit(hit) => Ok(hit),
            Start::Queued(mut read) => {
                self.0.serve(&mut read);
                self.0.wait(key, read.reply, read.limit).await
            }
        }
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
        let missed = match self.local(key, load) {
            Ok(hit) => return Ok(hit),
            Err(missed) => missed,
        };
        match self.0.begin(missed).await {
            Start::Hit(hit) => Ok(hit),
            Start::Queued(mut read) => {
                self.0.serve(&mut read);
                outcome(read.reply).await
            }
        }
    }
}

impl<K, V, E> Namespace<K, V, E>
where
    K: Display + ?Sized,
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    /// Returns a hit of the local cache, or what the read goes on with. The loader is boxed here, so
    /// that no later future holds room for it.
    fn local<F, Fut>(&self, key: &K, load: F) -> Result<CachedValue<V>, Missed<V, E>>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<V, E>> + Send + 'static,
    {
        let group = || self.1.of(key);
        with_name(key, |name| match self.0.local_hit(name, group, load) {
            Ok(hit) => Ok(hit),
            Err(load) => Err(Missed {
                key: self.0.key(name),
                group: group(),
                load: boxed(load),
            }),
        })
    }

    /// Returns a hit of the local cache, or enqueues a waiter.
    fn start<F, Fut>(&self, key: &K, load: F) -> Start<V, E>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<V, E>> + Send + 'static,
    {
        let group = || self.1.of(key);
        with_name(key, |name| match self.0.local_hit(name, group, load) {
            Ok(hit) => Start::Hit(hit),
            Err(load) => Start::Queued(self.0.enqueue(name, group(), boxed(load), Known::Nothing)),
        })
    }
}

/// A read that is no hit of the local cache.
struct Missed<V, E> {
    key: String,
    group: Option<Group>,
    load: Loader<V, E>,
}

/// The begin of a read.
enum Start<V, E> {
    Hit(CachedValue<V>),
    Queued(Queued<V, E>),
}

/// A read that waits for a fetch.
struct Queued<V, E> {
    reply: oneshot::Receiver<Outcome<V, E>>,
    /// The fetch, if none served the key.
    fetch: Option<Fetch<V, E>>,
    /// The time after which the last known value is returned instead. Boxed, since it is rare.
    limit: Option<Box<(Duration, CachedValue<V>)>>,
}

impl<V, E> Inner<V, E>
where
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    /// Returns a local hit, and starts the background work that is due. The error is the loader.
    fn local_hit<F, Fut>(
        self: &Arc<Self>,
        name: &str,
        group: impl FnOnce() -> Option<Group>,
        load: F,
    ) -> Result<CachedValue<V>, F>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<V, E>> + Send + 'static,
    {
        let now = Moment::now();
        let Some(entry) = self.get_local(self.entry_key(name), now) else {
            self.counters.requests.one();
            return Err(load);
        };
        let hits = self.counters.local_hits.next();
        if entry.start_refresh(now) {
            let (namespace, name) = (Arc::clone(self), name.to_owned());
            let refresh = refresh::run(namespace, name, group(), boxed(load));
            self.shared.spawn(refresh);
        } else if self.is_sample(hits) {
            let (namespace, name) = (Arc::clone(self), name.to_owned());
            seams::spawn(sample::run(namespace, name, boxed(load)));
        }
        let age = now.since(entry.times.loaded);
        let value = entry.value.clone();
        Ok(CachedValue::new(value, Source::Local, Some(age)))
    }

    /// Returns a hit of the shared level if few others read this key, or enqueues a waiter.
    async fn begin(self: &Arc<Self>, missed: Missed<V, E>) -> Start<V, E> {
        let Missed { key, group, load } = missed;
        let known = match self.begin_alone(&key) {
            None => Known::Nothing,
            // Boxed, so that the reads that wait hold no room for it.
            Some(alone) => match Box::pin(self.read_alone(alone, group.as_ref())).await {
                Ok(hit) => return Start::Hit(hit),
                Err(known) => known,
            },
        };
        Start::Queued(self.enqueue(self.name(&key), group, load, known))
    }

    /// The time after which a last known value is served instead of waiting for a load.
    fn soft_timeout(&self) -> Option<Duration> {
        let policy = self.config.local.as_ref()?;
        mutant!(SoftTimeoutIgnored => return None);
        let is_unavailable = self.origin_unavailable.load(Ordering::Relaxed);
        mutant!(OutageAssumed => return Some(UNAVAILABLE_ORIGIN_WAIT));
        let known_outage = is_unavailable.then_some(UNAVAILABLE_ORIGIN_WAIT);
        policy.stale_after.into_iter().chain(known_outage).min()
    }

    /// Enqueues a waiter for the key's next fetch.
    fn enqueue(
        self: &Arc<Self>,
        name: &str,
        group: Option<Group>,
        load: Loader<V, E>,
        known: Known,
    ) -> Queued<V, E> {
        let (reply, outcome) = oneshot::channel();
        let waiter = Waiter {
            reply,
            load: Some(load),
            version: self.write_version(name),
        };
        let slot = self.in_flight.enqueue(name, waiter);
        if slot.is_none() {
            self.counters.queued.one();
        }
        let limit = self
            .soft_timeout()
            .and_then(|limit| Some(Box::new((limit, self.last_known(name)?))));
        Queued {
            reply: outcome,
            fetch: slot.map(|slot| Fetch::new(Arc::clone(self), group, slot, known)),
            limit,
        }
    }

    /// Starts the fetch of a read, if it has one.
    fn serve(&self, read: &mut Queued<V, E>) {
        if let Some(fetch) = read.fetch.take() {
            drop(self.shared.spawn(serve(fetch)));
        }
    }

    /// Waits for the outcome, or for the time after which the last known value is returned.
    async fn wait<K>(
        &self,
        key: &K,
        reply: oneshot::Receiver<Outcome<V, E>>,
        limit: Option<Box<(Duration, CachedValue<V>)>>,
    ) -> Outcome<V, E>
    where
        K: Display + Sync + ?Sized,
    {
        let outcome = match limit {
            None => outcome(reply).await,
            Some(limited) => match timeout(limited.0, outcome(reply)).await {
                Ok(outcome) => outcome,
                Err(_) => {
                    self.counters.stale.one();
                    let aged = with_name(key, |name| self.last_known(name));
                    return Ok(aged.unwrap_or(limited.1));
                }
            },
        };
        match outcome {
            Err(_) => with_name(key, |name| self.or_last_known(name, outcome)),
            Ok(_) => outcome,
        }
    }
}

async fn outcome<V, E>(reply: oneshot::Receiver<Outcome<V, E>>) -> Outcome<V, E> {
    reply.await.unwrap_or(Err(Failure::Panicked))
}
