//! What a request for a value ends with.

use std::time::Duration;

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The memory of this process.
    Local,
    /// The shared level.
    Shared,
    /// The loader.
    Loaded,
    /// The memory of this process, beyond what it is good for: the origin is away.
    Stale {
        /// How long ago the value was loaded.
        age: Duration,
        /// How long ago its time to live ended; zero if it lasts.
        past_ttl: Duration,
    },
}

/// A value, and where it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CachedValue<V> {
    /// The value.
    pub value: V,
    /// Where it came from.
    pub source: Source,
}

/// Why there is no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure<E> {
    /// The caller's own code failed.
    #[error("{0}")]
    Failed(E),
    /// The caller's own code panicked, or the runtime is shutting down.
    #[error("panicked, or was cut short by a shutdown")]
    Panicked,
}
