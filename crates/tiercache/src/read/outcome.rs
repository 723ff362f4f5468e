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

/// A value and its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CachedValue<V> {
    /// The value.
    pub value: V,
    /// Its source.
    pub source: Source,
}

/// The failure of a read or a write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure<E> {
    /// The loader or the transaction failed.
    #[error("{0}")]
    Failed(E),
    /// The loader or the transaction panicked, or the runtime is shutting down.
    #[error("panicked, or interrupted by a shutdown")]
    Panicked,
}
