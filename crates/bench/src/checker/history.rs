//! The events of a run.

use std::time::Duration;

/// The replicas under test.
pub const REPLICAS: usize = 2;

/// A time span on the clock of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// The start.
    pub from: Duration,
    /// The end.
    pub to: Duration,
}

impl Span {
    pub(super) fn length(self) -> Duration {
        self.to.saturating_sub(self.from)
    }

    /// Whether this span overlaps another one whose end is extended by `grace`.
    pub(super) fn overlaps(self, other: Self, grace: Duration) -> bool {
        self.from <= other.to + grace && other.from <= self.to
    }
}

/// A cache key and its committed versions.
#[derive(Clone, Debug)]
pub struct Key {
    /// A readable name, unique in the run.
    pub name: String,
    /// The TTL of its cache entries.
    pub ttl: Duration,
    /// Its versions in commit order. The first one existed before the run.
    pub committed: Vec<u64>,
}

/// The origin of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// A replica under test, by index.
    Replica(usize),
    /// The legacy client, which invalidates the key after its commit.
    LegacyClient,
}

/// A write of a key.
#[derive(Clone, Debug)]
pub struct Write {
    /// The key, as an index into [`History::keys`].
    pub key: usize,
    /// The new version.
    pub version: u64,
    /// The origin.
    pub by: Writer,
    /// From the request to its response.
    pub span: Span,
    /// The response. A write with an error may still have been committed.
    pub outcome: Result<(), String>,
    /// For the legacy client: whether Valkey acknowledged the invalidation.
    pub invalidated: bool,
}

/// A cache entry stored by the legacy client.
#[derive(Clone, Copy, Debug)]
pub struct Fill {
    /// The key, as an index into [`History::keys`].
    pub key: usize,
    /// The stored version.
    pub version: u64,
    /// From before the read of the database to Valkey's reply.
    pub span: Span,
}

/// The source of a response, as reported by the replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The local cache.
    Local,
    /// Valkey.
    Shared,
    /// The database.
    Loaded,
    /// The local cache, past the TTL, because the database is unavailable.
    Stale,
}

/// The outcome of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A version.
    Value(u64, Source),
    /// A status other than 200, no response, or a malformed one.
    Failed(String),
}

/// A read of a key.
#[derive(Clone, Debug)]
pub struct Read {
    /// The key, as an index into [`History::keys`].
    pub key: usize,
    /// The replica, by index.
    pub replica: usize,
    /// From the request to its response.
    pub span: Span,
    /// The response.
    pub outcome: Outcome,
}

/// The dependency that a fault makes unavailable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultTarget {
    /// None: latency was added or data dropped, and every guarantee still holds.
    Nothing,
    /// The connections of this replica to Valkey.
    Link(usize),
    /// Valkey itself.
    Valkey,
    /// The connections of all replicas to the database.
    Database,
}

/// An injected fault.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// A readable name, the same for all faults of a kind.
    pub kind: &'static str,
    /// Its duration.
    pub span: Span,
    /// The affected dependency.
    pub target: FaultTarget,
}

/// The complete record of a run.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// All keys.
    pub keys: Vec<Key>,
    /// All writes, in any order.
    pub writes: Vec<Write>,
    /// The fills of the legacy client, in any order.
    pub fills: Vec<Fill>,
    /// All reads, in any order.
    pub reads: Vec<Read>,
    /// All injected faults, in any order.
    pub faults: Vec<Fault>,
    /// The start of the quiet phase without writes and faults. None if the run ended without one;
    /// then convergence is not checked.
    pub quiet: Option<Duration>,
}
