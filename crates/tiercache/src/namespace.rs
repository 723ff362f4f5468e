//! A namespace: the keys with one prefix, with their type of value, TTL and codec.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;

use crate::cache::Shared;
use crate::local::versions::KeyHash;
use crate::read::in_flight::InFlight;
use crate::stats::Counters;

/// The configuration of a namespace.
pub struct NamespaceConfig<V, E> {
    /// The name in statistics.
    pub name: &'static str,
    /// The prefix of each key, to which the name in a request is appended. It may be a whole key,
    /// for a namespace with the empty name only.
    pub prefix: &'static str,
    /// The TTL in the shared level, in whole seconds. Zero switches caching off: neither reads
    /// nor fills. A write still fences and invalidates, since other replicas may cache the key.
    pub ttl: Duration,
    /// Whether entries are stored in the shared level, or in this process only.
    pub is_shared: bool,
    /// The policy for the local cache; `None` to keep nothing locally.
    pub local: Option<LocalPolicy<V>>,
    /// Decodes a payload. `None` if it is invalid: then the entry is replaced.
    pub decode: fn(&Bytes) -> Option<V>,
    /// Encodes a value as a payload.
    pub encode: fn(&V) -> Bytes,
    /// Whether a loader's error means that the origin is unavailable. Such an error is delivered
    /// to all waiters, also to those that enqueued during the load: a load of their own would
    /// only wait for the unavailable origin again.
    pub is_outage: fn(&E) -> bool,
}

/// The policy by which a namespace uses the local cache.
pub struct LocalPolicy<V> {
    /// The approximate size of a value in memory, in bytes.
    pub bytes: fn(&V) -> usize,
    /// The time after its TTL during which a value may be served while the origin is unavailable.
    /// Zero for never, which is right for anything that grants access.
    pub max_stale: Duration,
    /// Compares two values. With it, a sample of local hits is compared with the origin. `None`
    /// where a difference is expected until the TTL expires, since changes are not announced.
    pub same: Option<fn(&V, &V) -> bool>,
}

/// A namespace. Cheap to clone; clones share their fetches.
pub struct Namespace<V, E>(pub(crate) Arc<Inner<V, E>>);

pub(crate) struct Inner<V, E> {
    pub(crate) config: NamespaceConfig<V, E>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) counters: Arc<Counters>,
    /// Identifies it within the cache.
    pub(crate) id: u32,
    /// Whether the last load found the origin unavailable.
    pub(crate) origin_unavailable: AtomicBool,
    prefix_hash: KeyHash,
    pub(crate) in_flight: Arc<InFlight<V, E>>,
}

impl<V, E> Clone for Namespace<V, E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<V, E> Namespace<V, E> {
    pub(crate) fn new(
        config: NamespaceConfig<V, E>,
        id: u32,
        shared: Arc<Shared>,
        counters: Arc<Counters>,
    ) -> Self {
        let prefix_hash = KeyHash::of(config.prefix);
        Self(Arc::new(Inner {
            config,
            shared,
            counters,
            id,
            origin_unavailable: AtomicBool::new(false),
            prefix_hash,
            in_flight: Arc::new(InFlight::new()),
        }))
    }

    /// The key of this name in the shared level.
    pub fn key(&self, name: &str) -> String {
        self.0.key(name)
    }
}

impl<V, E> Inner<V, E> {
    /// The number of writes of this key by this process, modulo collisions.
    pub(crate) fn write_version(&self, name: &str) -> u64 {
        self.shared.write_versions.get(self.hash(name))
    }

    pub(crate) fn hash(&self, name: &str) -> KeyHash {
        self.prefix_hash.then(name)
    }

    pub(crate) fn key(&self, name: &str) -> String {
        [self.config.prefix, name].concat()
    }
}
