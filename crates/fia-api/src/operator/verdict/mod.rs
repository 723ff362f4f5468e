//! What the page says first: how old responses may be, and what is wrong and to be done.
//!
//! The sentence is true at any time. It follows from the bounds of staleness in
//! `docs/operations.md`: each condition that can make responses older than in normal operation
//! has a bound and a cause, and the sentence names the largest bound and all causes.

mod bounds;
mod problems;

use std::time::Duration;

use serde::Serialize;

pub(super) use bounds::Bounds;
pub(super) use problems::Problem;

use crate::operator::at::At;
use crate::operator::fleet::Fleet;
use crate::operator::view::{Dependency, State};

/// The time between two probes of PostgreSQL, and their time limit: an outage may have begun that
/// much before it is noticed.
const PROBE_AGE: Duration = Duration::from_secs(2);

/// How well the server works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Level {
    Ok,
    Degraded,
    Failing,
}

impl Level {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Failing => "failing",
        }
    }
}

/// What the page says first.
#[derive(Debug, Serialize)]
pub(super) struct Verdict {
    pub(super) level: Level,
    /// How old responses may be, and why.
    pub(super) sentence: String,
    /// The sentence without what changes each second, for screen readers.
    pub(super) announcement: String,
    /// How old a response may be at most, in seconds, if that is more than in normal operation.
    pub(super) max_age_seconds: Option<u64>,
    /// The bounds in normal operation.
    pub(super) bounds: String,
    /// What is wrong, the worst first.
    pub(super) problems: Vec<Problem>,
}

/// What the verdict depends on.
pub(super) struct Facts<'a> {
    pub(super) dependencies: &'a [Dependency],
    pub(super) bounds: Bounds,
    /// Keys and reads whose invalidation is not confirmed.
    pub(super) pending: usize,
    /// Local hits that were compared with the database lately, and those that were stale.
    pub(super) compared: (u64, u64),
    pub(super) fleet: &'a Fleet,
    pub(super) backlog: u64,
    pub(super) backlog_age: Duration,
    pub(super) parked: u64,
    pub(super) is_draining: bool,
}

/// A condition under which responses may be older than in normal operation.
struct Aging {
    /// The most, in seconds; `None` if that is unknown.
    bound: Option<u64>,
    cause: String,
}

impl Facts<'_> {
    /// A dependency, if it is unavailable.
    fn down(&self, id: &str) -> Option<&Dependency> {
        let mut all = self.dependencies.iter();
        all.find(|one| one.id == id && one.state == State::Down)
    }

    /// The verdict.
    pub(super) fn verdict(&self) -> Verdict {
        let aging = self.aging();
        let bounds = aging.iter().filter_map(|one| one.bound);
        let max_age_seconds = bounds.max();
        let causes: Vec<&str> = aging.iter().map(|one| &*one.cause).collect();
        let causes = causes.join(", and ");
        let limits = self.limits().join("; ");
        let (sentence, announcement) = if aging.is_empty() {
            let sentence = match &*limits {
                "" => format!("Answers are current: {}.", self.bounds.short()),
                limits => format!("Answers of this replica are current, but {limits}."),
            };
            (sentence.clone(), sentence)
        } else {
            let also = match &*limits {
                "" => String::new(),
                limits => format!(" Also, {limits}."),
            };
            let age = max_age_seconds.unwrap_or_default();
            if aging.iter().any(|one| one.bound.is_none()) {
                let sentence =
                    format!("Some answers are older than they should be: {causes}.{also}");
                (sentence.clone(), sentence)
            } else {
                (
                    format!("Answers may be up to {age} s old: {causes}.{also}"),
                    format!("Answers may be old: {causes}.{also}"),
                )
            }
        };
        let problems = self.problems();
        let worst = problems.iter().map(|problem| problem.level).max();
        Verdict {
            level: worst.unwrap_or(Level::Ok),
            sentence,
            announcement,
            max_age_seconds,
            bounds: self.bounds.text(),
            problems,
        }
    }

    /// What else does not work as in normal operation, and why.
    fn limits(&self) -> Vec<String> {
        let mut limits = Vec::new();
        if let Some(valkey) = self.down("valkey") {
            let since = since(valkey);
            limits.push(format!(
                "reads are slower: Valkey has been unavailable{since}"
            ));
        } else if let Some(tracking) = self.down("tracking") {
            let since = since(tracking);
            limits.push(format!(
                "reads are slower: client tracking has been interrupted{since}"
            ));
        }
        for (id, effect, name) in [
            ("rabbitmq", "new jobs are announced later", "RabbitMQ"),
            ("auth_service", "some users may get 503", "the auth service"),
        ] {
            if let Some(down) = self.down(id) {
                let since = since(down);
                limits.push(format!("{effect}: {name} has been unavailable{since}"));
            }
        }
        limits
    }

    fn aging(&self) -> Vec<Aging> {
        let mut all = Vec::new();
        let (compared, stale) = self.compared;
        if stale > 0 {
            all.push(Aging {
                bound: None,
                cause: format!(
                    "{stale} of {compared} that were compared with PostgreSQL in the last 2 minutes"
                ),
            });
        }
        if let Some(database) = self.down("postgresql") {
            let elapsed = database
                .since
                .map_or(PROBE_AGE, |at| at.elapsed() + PROBE_AGE);
            all.push(Aging {
                bound: Some(self.bounds.without_database(elapsed)),
                cause: format!("PostgreSQL has been unavailable{}", since(database)),
            });
        }
        all.extend(self.unannounced());
        if let Some(feed) = self.down("change_feed") {
            all.push(Aging {
                bound: Some(self.bounds.columns()),
                cause: format!("the change feed has been disconnected{}", since(feed)),
            });
        }
        if let Some(github) = self.down("github") {
            let elapsed = github.since.map_or(Duration::ZERO, At::elapsed);
            all.push(Aging {
                bound: Some(self.bounds.without_github(elapsed)),
                cause: format!(
                    "GitHub (runner images) has been unavailable{}",
                    since(github)
                ),
            });
        }
        all
    }

    /// Writes that other replicas may not know of: of this replica, or of one that fell silent.
    fn unannounced(&self) -> Option<Aging> {
        let bound = Some(self.bounds.columns());
        if self.pending > 0 {
            let changes = match self.pending {
                1 => "a change made here is".to_owned(),
                pending => format!("{pending} changes made here are"),
            };
            return Some(Aging {
                bound,
                cause: format!("{changes} not known to other replicas yet"),
            });
        }
        let recent = |line: u64| At::from_unix(line).elapsed().as_secs() <= self.bounds.columns();
        let mut silent = self.fleet.silent.iter();
        let silent = silent.find(|line| recent(line.written))?;
        let clock = At::from_unix(silent.written).clock();
        Some(Aging {
            bound,
            cause: format!(
                "the replica {} fell silent at {clock}, and its last changes may not have been \
                 announced",
                silent.replica
            ),
        })
    }
}

/// ` since 14:03:11`
fn since(dependency: &Dependency) -> String {
    let since = dependency.since.map(At::clock);
    since.map_or_else(String::new, |clock| format!(" since {clock}"))
}

#[cfg(test)]
mod tests;
