//! A class of keys: one kind of value, its prefix, its time to live, and how it is read.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use crate::Shared;
use crate::epochs::KeyHash;
use crate::flight::{Lanes, Loader, Outcome, Passenger};
use crate::outcome::{Failure, Found, Source};
use crate::stats::Counters;
use crate::{refresh, round, sample};

/// How long a request waits for an origin that was found to be away, if there is a last known
/// value.
const PATIENCE: Duration = Duration::from_millis(200);

/// What the entries of a class have in common.
pub struct Spec<V, E> {
    /// The name of the class in statistics.
    pub name: &'static str,
    /// What each key begins with; the name a request gives is appended.
    pub prefix: &'static str,
    /// How long an entry lives in the shared level, in whole seconds. Zero switches caching
    /// off: no reading, no filling. A write still fences and invalidates, since other
    /// replicas may cache what this one does not.
    pub ttl: Duration,
    /// Whether the shared level has entries of this class. If not, only this process does.
    pub is_shared: bool,
    /// How values are kept in this process; `None`: not at all.
    pub keep: Option<Keep<V>>,
    /// Reads a stored payload. `None` if it is not of this class: then the entry is replaced.
    pub decode: fn(&Bytes) -> Option<V>,
    /// The payload to store.
    pub encode: fn(&V) -> Bytes,
    /// Whether a loader's error says that the origin could not be reached, and so nothing about
    /// the value. Such an error is given to all who wait at that moment: were those who came
    /// during the load to try for themselves, each would wait for a dead origin twice.
    pub is_outage: fn(&E) -> bool,
}

/// How values of a class are kept in this process.
pub struct Keep<V> {
    /// About how much memory a value takes, in bytes.
    pub bytes: fn(&V) -> usize,
    /// How long beyond its time to live a value may serve while the origin is away; zero for
    /// not at all, as for whatever grants access.
    pub max_stale: Duration,
    /// Whether two values are the same. `None` where what is found to differ from the origin
    /// says nothing, since nobody announces changes: such a class is not sampled.
    pub same: Option<fn(&V, &V) -> bool>,
}

/// A class of keys. Cheap to clone; clones share their flights.
pub struct Class<V, E>(pub(crate) Arc<Inner<V, E>>);

pub(crate) struct Inner<V, E> {
    pub(crate) spec: Spec<V, E>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) counters: Arc<Counters>,
    /// Its number among the classes of the cache.
    pub(crate) number: u32,
    /// Whether the last load found the origin away.
    pub(crate) origin_away: AtomicBool,
    prefix_hash: KeyHash,
    lanes: Arc<Lanes<V, E>>,
}

impl<V, E> Clone for Class<V, E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<V, E> Class<V, E> {
    pub(crate) fn new(
        spec: Spec<V, E>,
        number: u32,
        shared: Arc<Shared>,
        counters: Arc<Counters>,
    ) -> Self {
        let prefix_hash = KeyHash::of(spec.prefix);
        Self(Arc::new(Inner {
            spec,
            shared,
            counters,
            number,
            origin_away: AtomicBool::new(false),
            prefix_hash,
            lanes: Arc::new(Lanes::new()),
        }))
    }

    /// The key under which the shared level has the entry of this name.
    pub fn key(&self, name: &str) -> String {
        self.0.key(name)
    }
}

impl<V, E> Class<V, E>
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
    pub async fn get_or_load<F, Fut>(&self, name: &str, load: F) -> Result<Found<V>, Failure<E>>
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
            return Ok(Found {
                value,
                source: Source::Local,
            });
        }
        let outcome = self.board(name, boxed(load));
        if class.origin_away.load(Ordering::Relaxed)
            && let Some(last_known) = class.last_known(name)
        {
            // Whoever has an answer does not wait to hear the same again.
            return match timeout(PATIENCE, outcome).await {
                Ok(outcome) => class.or_last_known(name, outcome.unwrap_or(Err(Failure::Panicked))),
                Err(_) => {
                    class.counters.stale.one();
                    Ok(last_known)
                }
            };
        }
        class.or_last_known(name, outcome.await.unwrap_or(Err(Failure::Panicked)))
    }

    /// The value of this name, if memory has it and there is nothing to do but to give it.
    /// Never waits, and needs no loader; as fresh as what [`get_or_load`](Self::get_or_load)
    /// gives, which is to be asked otherwise.
    pub fn recall(&self, name: &str) -> Option<V> {
        let class = &self.0;
        let (value, entry) = class.recall(name)?;
        let is_due = entry.is_refresh_due(Instant::now())
            || class.is_sample(class.counters.local_hits.get());
        (!is_due).then_some(())?;
        class.counters.requests.one();
        class.counters.local_hits.one();
        Some(value)
    }

    /// Puts a request into the lane of its key.
    fn board(&self, name: &str, load: Loader<V, E>) -> oneshot::Receiver<Outcome<V, E>> {
        let (reply, outcome) = oneshot::channel();
        let passenger = Passenger {
            reply,
            load: Some(load),
            epoch: self.0.epoch(name),
        };
        match self.0.lanes.join(name, passenger) {
            Some(lane) => drop(tokio::spawn(round::fly(Arc::clone(&self.0), lane))),
            None => self.0.counters.joins.one(),
        }
        outcome
    }
}

fn boxed<V, E, F, Fut>(load: F) -> Loader<V, E>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = Result<V, E>> + Send + 'static,
{
    Box::new(move || Box::pin(load()))
}

impl<V, E> Inner<V, E> {
    /// The epoch of the entry of this name now.
    pub(crate) fn epoch(&self, name: &str) -> u64 {
        self.shared.epochs.of(self.hash(name))
    }

    /// The hash of the key of this name.
    pub(crate) fn hash(&self, name: &str) -> KeyHash {
        self.prefix_hash.then(name)
    }

    /// The key of this name.
    pub(crate) fn key(&self, name: &str) -> String {
        [self.spec.prefix, name].concat()
    }
}
