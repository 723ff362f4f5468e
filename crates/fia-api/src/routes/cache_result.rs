//! The part of the cache in a response, for metrics.

use tiercache::Source;

/// The part of the cache in a response; a response extension of cached reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CacheResult {
    /// Not a cached read, or it failed.
    None,
    /// A hit in the local cache.
    Local,
    /// A hit in Valkey.
    Shared,
    /// A miss: the value was loaded.
    Miss,
    /// A value past its TTL, because it could not be loaded.
    Stale,
}

impl CacheResult {
    /// Every result; its position is its discriminant.
    pub(crate) const ALL: [Self; 5] = [
        Self::None,
        Self::Local,
        Self::Shared,
        Self::Miss,
        Self::Stale,
    ];

    /// Its label in metrics.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Local => "local",
            Self::Shared => "shared",
            Self::Miss => "miss",
            Self::Stale => "stale",
        }
    }
}

impl From<Source> for CacheResult {
    fn from(source: Source) -> Self {
        match source {
            Source::Local => Self::Local,
            Source::Shared => Self::Shared,
            Source::Loaded => Self::Miss,
            Source::Stale { .. } => Self::Stale,
        }
    }
}
