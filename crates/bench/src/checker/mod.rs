//! Judges what replicas of a cached service have answered, from the history of a run.
//!
//! Pure: events in, a verdict out. Nothing here waits, asks or guesses; whoever makes the run
//! (see [`crate::schedules`]) notes what was asked, answered and broken, and when, on one clock.
//!
//! Each key holds versions. In which order they were committed the database tells, so writers may
//! race. An answer is *older* than a write when its version was committed before that write's,
//! and its *lag* is the time from the return of that write to the start of the request. How much
//! of it is allowed depends on the way from the writer to the reader: see [`Bound`].

mod check;
mod explain;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

pub use check::judge;
pub use explain::explain;

/// The replicas under test.
pub const REPLICAS: usize = 2;
/// How long a write may be unknown to another replica that has heard nothing (a dead connection).
const TRUST: Duration = Duration::from_secs(1);
/// How long a lease lasts: what was loaded may be stored as late as that.
const LEASE_LIFE: Duration = Duration::from_secs(5);
/// How long a fence lasts whose writer cannot take it down; nobody stores anything meanwhile.
const FENCE_LIFE: Duration = Duration::from_secs(10);
/// How soon after a fault of Valkey a replica uses it and its own memory again.
pub const RECOVERY: Duration = Duration::from_secs(2);
/// How soon after a fault of the database it is used again.
const DATABASE_RECOVERY: Duration = Duration::from_secs(2);
/// The longest that an answer may take, and the longest while the database is in trouble.
const SLOWEST: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(6)];
/// What a busy machine may add to any of these.
const MACHINE: Duration = Duration::from_millis(300);

/// How long after its last write and its last fault a run must go on to be judged whole.
pub fn quiet_time(longest_ttl: Duration) -> Duration {
    FENCE_LIFE.max(longest_ttl + LEASE_LIFE) + RECOVERY + MACHINE
}

/// From one moment to another, on the clock of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// When it began.
    pub from: Duration,
    /// When it ended.
    pub to: Duration,
}

impl Span {
    fn length(self) -> Duration {
        self.to.saturating_sub(self.from)
    }

    /// Whether this and another one, made longer at its end, have a moment in common.
    fn meets(self, other: Self, and_then: Duration) -> bool {
        self.from <= other.to + and_then && other.from <= self.to
    }
}

/// A key, and what it held in the course of the run.
#[derive(Clone, Debug)]
pub struct Key {
    /// For people.
    pub name: String,
    /// How long an entry of it is cached.
    pub ttl: Duration,
    /// Its versions in the order in which they were committed; the first was there before.
    pub committed: Vec<u64>,
}

/// Who wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// This replica of the service.
    Replica(usize),
    /// The older program: it commits, then clears the key.
    Peer,
}

/// A change of a key.
#[derive(Clone, Debug)]
pub struct Write {
    /// Which key, by its place in [`History::keys`].
    pub key: usize,
    /// The version that was to be written.
    pub version: u64,
    /// By whom.
    pub by: Writer,
    /// From the request to its answer.
    pub span: Span,
    /// What became of it: an error may mean that it was made all the same.
    pub outcome: Result<(), String>,
    /// For a peer: whether its clearing of the key was acknowledged.
    pub cleared: bool,
}

/// What the older program stored: from before it read the database to Valkey's answer.
#[derive(Clone, Copy, Debug)]
pub struct Fill {
    /// Which key.
    pub key: usize,
    /// The version that it stored.
    pub version: u64,
    /// When.
    pub span: Span,
}

/// Where a replica said that an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Its memory.
    Local,
    /// Valkey.
    Shared,
    /// The database.
    Loaded,
    /// Its memory, beyond the time to live: the database is away.
    Stale,
}

/// What a request for a key ended with.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// A version.
    Value(u64, Source),
    /// Another status, no answer, or no sense.
    Failed(String),
}

/// A request for a key.
#[derive(Clone, Debug)]
pub struct Read {
    /// Which key.
    pub key: usize,
    /// Which replica was asked.
    pub replica: usize,
    /// From the request to its answer.
    pub span: Span,
    /// The answer.
    pub outcome: Outcome,
}

/// What a fault stands in the way of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hits {
    /// Nothing that a promise rests on: something was slow, or forgotten.
    Nothing,
    /// The way from this replica to Valkey.
    Link(usize),
    /// Valkey itself.
    Valkey,
    /// The replicas' way to the database.
    Database,
}

/// Something that was broken on purpose.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// For people.
    pub kind: &'static str,
    /// While it lasted.
    pub span: Span,
    /// What it was in the way of.
    pub hits: Hits,
}

/// Everything that happened in a run.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// What was read and written.
    pub keys: Vec<Key>,
    /// The changes, in any order.
    pub writes: Vec<Write>,
    /// What the older program stored.
    pub fills: Vec<Fill>,
    /// The answers, in any order.
    pub reads: Vec<Read>,
    /// What was broken.
    pub faults: Vec<Fault>,
    /// From when on nothing was written and nothing broken, if the run went on so long.
    pub quiet: Option<Duration>,
}

/// How an answer may lag behind a write that had returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The write was made on the same replica: not at all.
    Own,
    /// It was made on the other replica, and Valkey could be told: by the time in which a dead
    /// connection is noticed.
    Told,
    /// The older program made it and cleared the key: likewise.
    PeerTold,
    /// Valkey could not be told, or the older program stored what it had read before: by the time
    /// to live, after the longest time in which an older value may still be stored.
    Late,
}

impl Bound {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Own, Self::Told, Self::PeerTold, Self::Late];

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Own => "written on the same replica",
            Self::Told => "written on the other replica",
            Self::PeerTold => "written by the older program",
            Self::Late => "Valkey not told, or a late fill",
        }
    }

    /// The longest lag that is allowed.
    pub fn limit(self, ttl: Duration) -> Duration {
        match self {
            Self::Own => Duration::ZERO,
            Self::Told | Self::PeerTold => TRUST + MACHINE,
            Self::Late => ttl + LEASE_LIFE + MACHINE,
        }
    }
}

/// The answers that were older than a write, by [`Bound`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// How many there were.
    pub answers: usize,
    /// The largest lag of them.
    pub largest: Duration,
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When, and for how long, if it has a place in time.
    pub span: Span,
    /// Which key, if it is about one.
    pub key: Option<usize>,
    /// Which promise, and how.
    pub what: String,
}

/// What is to be said of a run.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// What must not be.
    pub violations: Vec<Violation>,
    /// Answers by source.
    pub sources: BTreeMap<Source, usize>,
    /// Requests without a value, which are allowed while the database is in trouble.
    pub failed: usize,
    /// By [`Bound::ALL`].
    pub lags: [Lag; 4],
    /// The slowest answers: with the database well, and in trouble.
    pub slowest: [Duration; 2],
    /// The longest time from the end of a fault to the next answer from memory.
    pub recovery: Duration,
    /// The longest time from the end of all faults until a key was in memory again.
    pub last_key: Duration,
}
