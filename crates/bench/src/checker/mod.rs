//! The consistency checker: finds guarantees that a recorded run violated.
//!
//! Pure: a [`History`] in, a [`Verdict`] out. [`crate::schedules`] records histories; all times of
//! a history are on one clock, and the checker reads no other.
//!
//! Each key holds versions. The database records the order in which they were committed, so
//! writers may race. A response is *stale* relative to a write if its version was committed before
//! that write's version. Its *lag* is the time from the end of that write to the start of the
//! request. The permitted lag depends on how the invalidation travels from the writer to the
//! reader: see [`Bound`].

mod bounds;
mod check;
mod explain;
mod history;
mod recovery;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

pub use bounds::{Bound, quiet_time};
pub use check::check;
pub use explain::explain;
pub use history::{
    Fault, FaultTarget, Fill, History, Key, Outcome, REPLICAS, Read, Source, Span, Write, Writer,
};

/// The stale responses of one [`Bound`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// How many there were.
    pub responses: usize,
    /// The maximum lag.
    pub max: Duration,
}

/// A violated guarantee.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The time of the event.
    pub span: Span,
    /// The key, as an index into [`History::keys`], unless the whole replica is concerned.
    pub key: Option<usize>,
    /// The guarantee, and how it was violated.
    pub description: String,
}

/// The result of checking a run.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// In the order of their start.
    pub violations: Vec<Violation>,
    /// Responses by source.
    pub sources: BTreeMap<Source, usize>,
    /// Requests without a value. Permitted while the database is unavailable.
    pub failed: usize,
    /// Stale responses, in the order of [`Bound::ALL`].
    pub lags: [Lag; Bound::ALL.len()],
    /// The maximum latency: with the database available, and unavailable.
    pub max_latency: [Duration; 2],
    /// The longest time from the end of a fault to the next local hit of an affected replica.
    pub recovery: Duration,
    /// The longest time from the end of the last fault to the first local hit of a key.
    pub full_recovery: Duration,
}
