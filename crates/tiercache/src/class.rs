//! A class of keys: one kind of value, its prefix, its time to live.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;

use crate::Shared;
use crate::epochs::KeyHash;
use crate::flight::Lanes;
use crate::stats::Counters;

/// What the entries of a class have in common.
pub struct NamespaceConfig<V, E> {
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
    pub local: Option<LocalPolicy<V>>,
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
pub struct LocalPolicy<V> {
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
pub struct Namespace<V, E>(pub(crate) Arc<Inner<V, E>>);

pub(crate) struct Inner<V, E> {
    pub(crate) spec: NamespaceConfig<V, E>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) counters: Arc<Counters>,
    /// Its number among the classes of the cache.
    pub(crate) number: u32,
    /// Whether the last load found the origin away.
    pub(crate) origin_away: AtomicBool,
    prefix_hash: KeyHash,
    pub(crate) lanes: Arc<Lanes<V, E>>,
}

impl<V, E> Clone for Namespace<V, E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<V, E> Namespace<V, E> {
    pub(crate) fn new(
        spec: NamespaceConfig<V, E>,
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
