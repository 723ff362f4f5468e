//! Reading: from memory if it has the value, else with the key's next flight.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use crate::class::Namespace;
use crate::flight::{Loader, Outcome, Passenger};
use crate::outcome::{CachedValue, Failure, Source};
use crate::{refresh, round, sample};

/// How long a request waits for an origin that was found to be away, if there is a last known
/// value.
const PATIENCE: Duration = Duration::from_millis(200);

impl<V, E> Namespace<V, E>
where
    V: Clone + Send + Sync + 'static,
    E: Clone + Send + Sync + 'static,
{
    /// The value of this name: from memory, from the shared level, or else from `load`, which
    /// is called at most once, and not at all if another request's loader gives the value.
    ///
    /// The answer is never older than a [`write`](Self::write) of the same name that returned
    /// before this call began: on this replica, and on any other if the write's fence was
    /// acknowledged and Valkey has had the time to tell (a second at most). The exception is
    /// marked: while the origin is away, the last known value may be given, as
    /// [`Source::Stale`]. An error of the loader is not stored.
    ///
    /// The work is done by a task of its own: dropping the future cancels nothing for others.
    ///
    /// # Errors
    /// [`Failure::Failed`] with the loader's error, [`Failure::Panicked`] if it panicked.
    pub async fn get_or_load<F, Fut>(
        &self,
        name: &str,
        load: F,
    ) -> Result<CachedValue<V>, Failure<E>>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<V, E>> + Send + 'static,
    {
        let class = &self.0;
        class.counters.requests.one();
        if let Some((value, entry)) = class.recall(name) {
            let hits = class.counters.local_hits.next();
            if entry.claim_refresh(Instant::now()) {
                tokio::spawn(refresh::run(
                    Arc::clone(class),
                    name.to_owned(),
                    boxed(load),
                ));
            } else if class.is_sample(hits) {
                tokio::spawn(sample::run(Arc::clone(class), name.to_owned(), boxed(load)));
            }
            return Ok(CachedValue {
                value,
                source: Source::Local,
            });
        }
        let outcome = self.board(name, boxed(load));
        if class.origin_away.load(Ordering::Relaxed)
            && let Some(last_known) = class.last_known(name)
        {
            // Whoever has an answer does not wait to hear the same again.
            let Ok(outcome) = timeout(PATIENCE, outcome).await else {
                class.counters.stale.one();
                return Ok(last_known);
            };
            return class.or_last_known(name, outcome);
        }
        class.or_last_known(name, outcome.await)
    }

    /// The value of this name, if memory has it and there is nothing to do but to give it.
    /// Never waits, and needs no loader; as fresh as what [`get_or_load`](Self::get_or_load)
    /// gives, which is to be asked otherwise.
    pub fn get_local(&self, name: &str) -> Option<V> {
        let class = &self.0;
        let (value, entry) = class.recall(name)?;
        let is_due = entry.is_refresh_due(Instant::now())
            || class.is_sample(class.counters.local_hits.get());
        (!is_due).then_some(())?;
        class.counters.requests.one();
        class.counters.local_hits.one();
        Some(value)
    }

    /// Puts a request into the lane of its key, and gives what it will get.
    fn board(
        &self,
        name: &str,
        load: Loader<V, E>,
    ) -> impl Future<Output = Outcome<V, E>> + use<V, E> {
        let (reply, outcome) = oneshot::channel();
        let passenger = Passenger {
            reply,
            load: Some(load),
            epoch: self.0.epoch(name),
        };
        match self.0.lanes.join(name, passenger) {
            Some(lane) => drop(tokio::spawn(round::fly(Arc::clone(&self.0), lane))),
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
