//! A cached read: a namespace of the cache with what operators see of it.

use std::fmt::Display;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tiercache::{CachedValue, Namespace, Source};

use crate::cached::key_statistics::KeyStatistics;
use crate::observe::{Histogram, SlowOperation, SlowOperations, Snapshot};

/// A namespace of the cache, with statistics of its loads and keys. Cheap to clone.
pub(super) struct Read<K: ?Sized, V, E> {
    namespace: Namespace<K, V, E>,
    facts: Arc<ReadFacts>,
    size: fn(&V) -> usize,
}

/// A cached read: its declaration, and statistics of its loads.
#[derive(Debug)]
pub struct ReadFacts {
    /// The name, as in the label `class` of metrics.
    pub name: &'static str,
    /// The prefix of its keys.
    pub prefix: &'static str,
    /// The rest of its keys, for people: `{instrument}`.
    pub rest: &'static str,
    /// Its TTL; zero if it is not cached.
    pub ttl: Duration,
    /// How long after its TTL a value may be served while its origin is unavailable.
    pub max_stale: Duration,
    /// Whether its values are also in Valkey.
    pub is_shared: bool,
    loads: Histogram,
    slow: SlowOperations,
    keys: Option<Arc<KeyStatistics>>,
}

impl ReadFacts {
    /// A read of a namespace that is shared through Valkey. Statistics of keys are optional.
    pub(super) fn new(
        (name, prefix, rest): (&'static str, &'static str, &'static str),
        (ttl, max_stale): (Duration, Duration),
        keys: Option<&Arc<KeyStatistics>>,
    ) -> Self {
        Self {
            name,
            prefix,
            rest,
            ttl,
            max_stale,
            is_shared: true,
            loads: Histogram::default(),
            slow: SlowOperations::default(),
            keys: keys.cloned(),
        }
    }

    /// As a read whose values are only in memory.
    pub(super) fn unshared(self) -> Self {
        let is_shared = false;
        Self { is_shared, ..self }
    }

    /// The durations of its loads.
    #[must_use]
    pub fn loads(&self) -> Snapshot {
        self.loads.snapshot()
    }

    /// Its last slow loads.
    #[must_use]
    pub fn slow(&self) -> Vec<SlowOperation> {
        self.slow.list()
    }

    /// Records a load that has ended, with the size of its value if it succeeded.
    fn record_load(&self, rest: Option<&str>, elapsed: Duration, bytes: Option<usize>) {
        self.loads.record(elapsed);
        self.slow.record(elapsed, bytes.is_none());
        if let (Some(keys), Some(rest)) = (&self.keys, rest) {
            keys.loaded(&[self.prefix, rest].concat(), elapsed, bytes);
        }
    }

    /// The statistics of keys, if they are enabled.
    pub(super) fn keys(&self) -> Option<&Arc<KeyStatistics>> {
        self.keys.as_ref()
    }

    /// Counts a hit of the key with this rest.
    pub(super) fn record_hit(&self, key: &(impl Display + ?Sized)) {
        if let Some(keys) = &self.keys {
            keys.hit(format_args!("{}{key}", self.prefix));
        }
    }
}

impl<K, V, E> Read<K, V, E>
where
    K: Display + ?Sized,
{
    /// Adds statistics to a namespace; `size` is that of a value in bytes.
    pub(super) fn new(
        namespace: Namespace<K, V, E>,
        facts: ReadFacts,
        size: fn(&V) -> usize,
    ) -> Self {
        Self {
            namespace,
            facts: Arc::new(facts),
            size,
        }
    }

    pub(super) fn facts(&self) -> &Arc<ReadFacts> {
        &self.facts
    }

    /// What is needed to measure a load of a key.
    pub(super) fn measure(&self, key: &K) -> Measure<V> {
        Measure {
            facts: Arc::clone(&self.facts),
            size: self.size,
            rest: self.facts.keys.is_some().then(|| key.to_string()),
        }
    }

    /// Counts a read that was served by the cache.
    pub(super) fn record(&self, key: &K, found: &CachedValue<V>) {
        if found.source != Source::Loaded {
            self.facts.record_hit(key);
        }
    }
}

/// The measurement of a load.
pub(super) struct Measure<V> {
    facts: Arc<ReadFacts>,
    size: fn(&V) -> usize,
    /// The rest of the key, if there are statistics of keys.
    rest: Option<String>,
}

impl<V> Measure<V> {
    /// Awaits a load and records it.
    pub(super) async fn of<E>(self, load: impl Future<Output = Result<V, E>>) -> Result<V, E> {
        let start = Instant::now();
        let result = load.await;
        let bytes = result.as_ref().ok().map(self.size);
        let rest = self.rest.as_deref();
        self.facts.record_load(rest, start.elapsed(), bytes);
        result
    }
}

impl<K: ?Sized, V, E> Clone for Read<K, V, E> {
    fn clone(&self) -> Self {
        Self {
            namespace: self.namespace.clone(),
            facts: Arc::clone(&self.facts),
            size: self.size,
        }
    }
}

impl<K: ?Sized, V, E> Deref for Read<K, V, E> {
    type Target = Namespace<K, V, E>;

    fn deref(&self) -> &Self::Target {
        &self.namespace
    }
}
