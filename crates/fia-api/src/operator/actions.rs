//! What an operator may do.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use tracing::Level;

use crate::app::LogLevel;
use crate::operator::access::Actor;
use crate::operator::at::At;
use crate::operator::form::Form;
use crate::operator::view::masked;
use crate::state::AppState;
use crate::store::outbox;

/// How long a changed log level lasts.
const LOG_LEVEL_LIFE: Duration = Duration::from_secs(600);
/// The number of actions that the page shows.
const KEPT: usize = 20;

/// An action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// Invalidates a key on all replicas.
    InvalidateKey(String),
    /// Invalidates all keys of a cached read on all replicas.
    InvalidateRead(String),
    /// Invalidates the lists and counts that show an instrument's jobs, or all of those of all
    /// instruments (`all`), on all replicas.
    InvalidateGroup(String),
    /// Has a message of the outbox published again.
    RetryMessage(i64),
    /// Deletes a message of the outbox.
    DropMessage(i64),
    /// Sets the log level of this replica for 10 minutes.
    LogLevel(Level),
    /// Shuts this replica down as SIGTERM does.
    Drain,
}

/// What an action did.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Outcome {
    pub(super) is_done: bool,
    pub(super) text: String,
}

/// An action that was taken on this replica.
#[derive(Debug, Clone, Serialize)]
pub(super) struct ActionRecord {
    pub(super) at: At,
    pub(super) by: &'static str,
    pub(super) action: String,
    pub(super) outcome: Outcome,
}

impl Action {
    /// The action of a path and its form; `None` for another path or an invalid form.
    pub(super) fn parse(path: &str, form: &Form) -> Option<Self> {
        let text = |name| form.get(name).map(|text| text.trim().to_owned());
        let id = || text("id")?.parse().ok();
        Some(match path {
            "/actions/invalidate-key" => Self::InvalidateKey(text("key")?),
            "/actions/invalidate-read" => Self::InvalidateRead(text("read")?),
            "/actions/invalidate-group" => Self::InvalidateGroup(text("group")?),
            "/actions/retry-message" => Self::RetryMessage(id()?),
            "/actions/drop-message" => Self::DropMessage(id()?),
            "/actions/log-level" => Self::LogLevel(text("level")?.parse().ok()?),
            "/actions/drain" => Self::Drain,
            _ => return None,
        })
    }

    /// The section of the page that it belongs to.
    pub(super) fn section(&self) -> &'static str {
        match self {
            Self::InvalidateKey(_) => "keys",
            Self::InvalidateRead(_) | Self::InvalidateGroup(_) => "reads",
            Self::RetryMessage(_) | Self::DropMessage(_) => "outbox",
            Self::LogLevel(_) | Self::Drain => "actions",
        }
    }

    /// What it is, for the log and the page.
    fn describe(&self) -> String {
        match self {
            Self::InvalidateKey(key) => format!("invalidate key {}", masked(key)),
            Self::InvalidateRead(read) => format!("invalidate read {read}"),
            Self::InvalidateGroup(group) => format!("invalidate lists and counts of {group}"),
            Self::RetryMessage(id) => format!("retry message {id}"),
            Self::DropMessage(id) => format!("drop message {id}"),
            Self::LogLevel(level) => format!("log level {level} for 10 min"),
            Self::Drain => "drain this replica".to_owned(),
        }
    }

    async fn run(&self, state: &AppState, log_level: &LogLevel) -> Outcome {
        match self {
            Self::InvalidateKey(key) => {
                let is_done = state.cached.invalidate_key(key).await;
                outcome(is_done, "invalidated", "no cached read has such a key")
            }
            Self::InvalidateRead(read) => {
                let is_done = state.cached.invalidate_read(read).await;
                outcome(is_done, "invalidated", "no cached read has this name")
            }
            Self::InvalidateGroup(group) => {
                let is_done = state.cached.invalidate_job_group(group).await;
                outcome(is_done, "invalidated", "no instrument, or groups are off")
            }
            Self::RetryMessage(id) => {
                message(outbox::retry(&state.db, *id).await, "will be published")
            }
            Self::DropMessage(id) => message(outbox::drop_message(&state.db, *id).await, "dropped"),
            Self::LogLevel(level) => {
                log_level.set_for(*level, LOG_LEVEL_LIFE);
                outcome(true, "set for 10 minutes", "")
            }
            Self::Drain => {
                state.readiness.begin_drain();
                outcome(true, "shutting down", "")
            }
        }
    }
}

fn outcome(is_done: bool, done: &str, failed: &str) -> Outcome {
    let text = if is_done { done } else { failed };
    Outcome {
        is_done,
        text: text.to_owned(),
    }
}

fn message<E>(found: Result<bool, E>, done: &str) -> Outcome {
    match found {
        Ok(is_found) => outcome(is_found, done, "no such message that is not in flight"),
        Err(_) => outcome(false, "", "the database is unavailable"),
    }
}

/// The last actions on this replica.
#[derive(Default)]
pub(super) struct ActionLog(Mutex<VecDeque<ActionRecord>>);

impl ActionLog {
    /// Runs an action, and records it here and in the log.
    pub(super) async fn run(
        &self,
        action: &Action,
        (actor, client): (Actor, Option<IpAddr>),
        (state, log_level): (&AppState, &LogLevel),
    ) -> Outcome {
        let outcome = action.run(state, log_level).await;
        let description = action.describe();
        tracing::warn!(
            actor = actor.logged(),
            client.address = client.map(tracing::field::display),
            action = description,
            done = outcome.is_done,
            outcome = outcome.text,
            "operator action"
        );
        let mut kept = self.0.lock();
        if kept.len() == KEPT {
            kept.pop_back();
        }
        kept.push_front(ActionRecord {
            at: At::now(),
            by: actor.shown(),
            action: description,
            outcome: outcome.clone(),
        });
        outcome
    }

    /// The last actions, the latest first.
    pub(super) fn list(&self) -> Vec<ActionRecord> {
        self.0.lock().iter().cloned().collect()
    }
}
