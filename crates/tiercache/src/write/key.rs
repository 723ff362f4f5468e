//! A key of the shared level, for writes.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::local::entry;
use crate::stats::Counters;

/// A key of a namespace, to be fenced by a write, and perhaps the value that the write then
/// stores. See [`Namespace::key`](crate::Namespace::key) and [`Namespace::put`](crate::Namespace::put).
#[derive(Clone)]
#[must_use = "a key is changed only by the write that fences it"]
pub struct Key {
    pub(crate) text: Arc<str>,
    /// The key of the local entry.
    pub(crate) local: entry::Key,
    pub(crate) counters: Arc<Counters>,
    /// The payload to store once the write has committed, and its TTL.
    pub(crate) value: Option<(Bytes, Duration)>,
}

impl Key {
    /// The key in the shared level.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.text).finish()
    }
}
