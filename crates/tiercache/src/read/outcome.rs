//! The result of a read.

use std::time::Duration;

/// The source of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The local cache.
    Local,
    /// The shared level.
    Shared,
    /// The loader.
    Loaded,
    /// The local cache, although the value is no longer current: the origin is unavailable.
    Stale {
        /// The time since the value was loaded.
        age: Duration,
        /// The time since its TTL expired; zero if it has not.
        past_ttl: Duration,
    },
}

/// A value, its source and its age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CachedValue<V> {
    /// The value.
    pub value: V,
    /// Its source.
    pub source: Source,
    /// The time since it was loaded, by the TTL that is left of the namespace's; `None` if the
    /// TTL was not read. (It is read for namespaces that are kept locally.)
    pub age: Option<Duration>,
}

impl<V> CachedValue<V> {
    pub(crate) fn new(value: V, source: Source, age: Option<Duration>) -> Self {
        Self { value, source, age }
    }

    pub(crate) fn loaded(value: V) -> Self {
        Self::new(value, Source::Loaded, Some(Duration::ZERO))
    }
}

/// The failure of a read or a write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure<E> {
    /// The loader or the transaction failed.
    #[error("{0}")]
    Failed(E),
    /// The load took longer than the namespace's limit.
    #[error("the load took too long")]
    TimedOut,
    /// The loader or the transaction panicked, or the runtime is shutting down.
    #[error("panicked, or interrupted by a shutdown")]
    Panicked,
}
