//! The group of an entry: its key, and the versions by which the entry is current.

use std::sync::Arc;

use crate::local::coherence::VersionStamp;
use crate::local::versions::KeyHash;

/// A group of entries.
#[derive(Clone)]
pub(crate) struct Group {
    pub(crate) key: Arc<str>,
    pub(crate) hash: KeyHash,
}

/// The versions of a group at some time.
#[derive(Clone, Copy)]
pub(crate) struct GroupStamp {
    pub(crate) hash: KeyHash,
    pub(crate) stamp: VersionStamp,
    /// The number of writes of the group by this process.
    pub(crate) write_version: u64,
}
