//! The shorter tables: slow operations, the outbox, live logs.

use serde::Serialize;

use crate::observe::SlowOperation;
use crate::operator::at::At;
use crate::state::AppState;
use crate::store::outbox::{self, Entry};

/// The number of slow operations shown.
const MAX_SLOW: usize = 20;
/// The number of messages shown.
const MAX_MESSAGES: usize = 50;

/// A slow load of a cached read, or a slow call of a dependency.
#[derive(Debug, Serialize)]
pub(in crate::operator) struct SlowRow {
    pub(in crate::operator) at: At,
    /// `load specification`, `postgresql statement`.
    pub(in crate::operator) what: String,
    pub(in crate::operator) milliseconds: u64,
    pub(in crate::operator) is_failed: bool,
    pub(in crate::operator) request_id: Option<String>,
}

/// The last slow operations, the latest first.
pub(in crate::operator) fn slow(state: &AppState) -> Vec<SlowRow> {
    let mut rows = Vec::new();
    let mut add = |what: &str, operations: Vec<SlowOperation>| {
        rows.extend(operations.into_iter().map(|operation| SlowRow {
            at: At(operation.at),
            what: what.to_owned(),
            milliseconds: u64::try_from(operation.elapsed.as_millis()).unwrap_or(u64::MAX),
            is_failed: operation.is_failed,
            request_id: operation.request_id,
        }));
    };
    for read in state.cached.reads() {
        add(&format!("load {}", read.name), read.slow());
    }
    for dependency in &state.dependencies {
        let what = format!("{} {}", dependency.name, dependency.operation);
        add(&what, dependency.calls.slow());
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.at));
    rows.truncate(MAX_SLOW);
    rows
}

/// The outbox.
#[derive(Debug, Serialize)]
pub(in crate::operator) struct Outbox {
    pub(in crate::operator) published: u64,
    pub(in crate::operator) failed_attempts: u64,
    /// Messages to be published.
    pub(in crate::operator) backlog: u64,
    /// The age of the oldest of them.
    pub(in crate::operator) oldest_seconds: u64,
    pub(in crate::operator) parked: u64,
    /// The messages, parked ones first; empty while the database is unavailable.
    pub(in crate::operator) messages: Vec<OutboxRow>,
}

/// A message in the outbox, without its body.
#[derive(Debug, Serialize)]
pub(in crate::operator) struct OutboxRow {
    pub(in crate::operator) id: i64,
    pub(in crate::operator) state: &'static str,
    pub(in crate::operator) job: Option<i64>,
    pub(in crate::operator) exchange: String,
    pub(in crate::operator) bytes: i64,
    pub(in crate::operator) age_seconds: u64,
    pub(in crate::operator) attempts: i32,
    pub(in crate::operator) error: Option<String>,
}

/// The state of the outbox. Reads the messages only if there are some.
pub(in crate::operator) async fn outbox(state: &AppState) -> Outbox {
    let statistics = state.jobs.outbox().statistics();
    let backlog = statistics.backlog;
    let has_messages = backlog.messages + backlog.parked > 0;
    let messages = if has_messages && state.cached.reachability().is_reachable() {
        outbox::list(&state.db, MAX_MESSAGES)
            .await
            .unwrap_or_default()
    } else {
        Vec::new()
    };
    Outbox {
        published: statistics.published,
        failed_attempts: statistics.failed,
        backlog: backlog.messages,
        oldest_seconds: backlog.oldest.as_secs(),
        parked: backlog.parked,
        messages: messages.into_iter().map(message).collect(),
    }
}

fn message(entry: Entry) -> OutboxRow {
    let state = match entry.state {
        outbox::State::Waiting => "waiting",
        outbox::State::InFlight => "in flight",
        outbox::State::Parked => "parked",
    };
    OutboxRow {
        id: entry.id,
        state,
        job: entry.job,
        exchange: entry.exchange,
        bytes: entry.bytes,
        age_seconds: entry.age.as_secs(),
        attempts: entry.attempts,
        error: entry.error,
    }
}

/// The live logs with viewers.
#[derive(Debug, Serialize)]
pub(in crate::operator) struct Streams {
    pub(in crate::operator) viewers: usize,
    pub(in crate::operator) max_viewers: usize,
    pub(in crate::operator) instruments: Vec<Viewers>,
}

/// The viewers of an instrument's live log.
#[derive(Debug, Serialize)]
pub(in crate::operator) struct Viewers {
    pub(in crate::operator) instrument: String,
    pub(in crate::operator) viewers: usize,
}

pub(in crate::operator) fn streams(state: &AppState) -> Streams {
    let logs = state.logs.viewers_by_instrument().into_iter();
    Streams {
        viewers: state.logs.viewers(),
        max_viewers: state.logs.max_viewers(),
        instruments: logs
            .map(|(instrument, viewers)| Viewers {
                instrument,
                viewers,
            })
            .collect(),
    }
}
