//! A class of keys: one kind of value, its prefix, its time to live, and how it is read.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::Shared;
use crate::epochs::KeyHash;
use crate::flight::{Lanes, Loader, Passenger};
use crate::outcome::{Failure, Found};
use crate::round;
use crate::stats::Counters;

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
    /// Reads a stored payload. `None` if it is not of this class: then the entry is replaced.
    pub decode: fn(&Bytes) -> Option<V>,
    /// The payload to store.
    pub encode: fn(&V) -> Bytes,
    /// Whether a loader's error says that the origin could not be reached, and so nothing about
    /// the value. Such an error is given to all who wait at that moment: were those who came
    /// during the load to try for themselves, each would wait for a dead origin twice.
    pub is_outage: fn(&E) -> bool,
}

/// A class of keys. Cheap to clone; clones share their flights.
pub struct Class<V, E>(pub(crate) Arc<Inner<V, E>>);

pub(crate) struct Inner<V, E> {
    pub(crate) spec: Spec<V, E>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) counters: Arc<Counters>,
    prefix_hash: KeyHash,
    lanes: Arc<Lanes<V, E>>,
}

impl<V, E> Clone for Class<V, E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<V, E> Class<V, E> {
    pub(crate) fn new(spec: Spec<V, E>, shared: Arc<Shared>, counters: Arc<Counters>) -> Self {
        let prefix_hash = KeyHash::of(spec.prefix);
        Self(Arc::new(Inner {
            spec,
            shared,
            counters,
            prefix_hash,
            lanes: Arc::new(Lanes::new()),
        }))
    }

    /// The key under which the shared level has the entry of this name.
    pub fn key(&self, name: &str) -> String {
        [self.0.spec.prefix, name].concat()
    }
}

impl<V, E> Class<V, E>
where
    V: Clone + Send + Sync + 'static,
    E: Clone + Send + Sync + 'static,
{
    /// The value of this name: from the shared level, or else from `load`, which is called at
    /// most once, and not at all if another request's loader gives the value.
    ///
    /// The answer is never older than a [`write`](Self::write) of the same name that returned
    /// before this call began: on this replica, and on any other if the write's fence was
    /// acknowledged. An error of the loader is not stored.
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
        self.0.counters.requests.one();
        let (reply, outcome) = oneshot::channel();
        let load: Loader<V, E> = Box::new(move || Box::pin(load()));
        let passenger = Passenger {
            reply,
            load: Some(load),
            epoch: self.0.epoch(name),
        };
        if let Some(lane) = self.0.lanes.join(name, passenger) {
            tokio::spawn(round::fly(Arc::clone(&self.0), lane));
        }
        outcome.await.unwrap_or(Err(Failure::Panicked))
    }
}

impl<V, E> Inner<V, E> {
    /// The epoch of the entry of this name now.
    pub(crate) fn epoch(&self, name: &str) -> u64 {
        self.shared.epochs.of(self.prefix_hash.then(name))
    }
}
