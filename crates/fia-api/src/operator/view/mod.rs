//! What the page shows, as plain values: the page in HTML and its JSON twin are made of the same.

mod called;
mod dependencies;
mod keys;
mod lists;
mod reads;

use serde::Serialize;

pub(super) use dependencies::{Dependency, State, dependencies};
pub(super) use keys::{KeyQuery, KeyRow, Keys, masked};
pub(super) use lists::{Outbox, OutboxRow, SlowRow, Streams, outbox, slow, streams};
pub(super) use reads::{ReadRow, misses, reads};

use crate::operator::actions::ActionRecord;
use crate::operator::at::At;
use crate::operator::fleet::Fleet;
use crate::operator::verdict::Verdict;

/// All that the page shows.
#[derive(Debug, Serialize)]
pub(super) struct Overview {
    /// When it was collected.
    pub(super) at: At,
    /// Changes with the state, and not with numbers; see `service`.
    pub(super) state: String,
    pub(super) verdict: Verdict,
    pub(super) replica: ThisReplica,
    pub(super) dependencies: Vec<Dependency>,
    pub(super) reads: Vec<ReadRow>,
    pub(super) keys: Keys,
    pub(super) fleet: Fleet,
    pub(super) outbox: Outbox,
    pub(super) streams: Streams,
    pub(super) slow: Vec<SlowRow>,
    pub(super) actions: Vec<ActionRecord>,
}

/// The replica that serves the page.
#[derive(Debug, Serialize)]
pub(super) struct ThisReplica {
    pub(super) id: String,
    pub(super) version: &'static str,
    pub(super) started: At,
    pub(super) is_draining: bool,
    pub(super) requests_per_second: f64,
    pub(super) local_bytes: u64,
    pub(super) local_entries: usize,
    pub(super) log_level: String,
    /// Until when the level is another one than the configured one.
    pub(super) log_level_until: Option<At>,
}
