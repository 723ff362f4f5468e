//! What is wrong, what follows from it for clients, and what to do.

use std::time::Duration;

use serde::Serialize;

use crate::operator::at::{At, duration_text};
use crate::operator::verdict::{Facts, Level};
use crate::operator::view::Dependency;

/// The age of the backlog from which on it is a problem: as the alert has it.
const MAX_BACKLOG_AGE: Duration = Duration::from_secs(60);

/// A problem.
#[derive(Debug, Serialize)]
pub(in crate::operator) struct Problem {
    pub(in crate::operator) level: Level,
    /// What is wrong.
    pub(in crate::operator) what: String,
    pub(in crate::operator) since: Option<At>,
    /// The error, as the server got it.
    pub(in crate::operator) cause: Option<String>,
    /// What follows for clients.
    pub(in crate::operator) effect: &'static str,
    /// What to do.
    pub(in crate::operator) remedy: &'static str,
    /// The alert's section in `docs/operations.md`.
    pub(in crate::operator) runbook: &'static str,
}

/// A dependency, the level of its absence, its effect, what to do, and the runbook.
type Outage = (
    &'static str,
    Level,
    &'static str,
    &'static str,
    &'static str,
);

const OUTAGES: [Outage; 7] = [
    (
        "postgresql",
        Level::Failing,
        "People get cached answers, marked as stale past their TTL; programs with the API key and everything else get 503.",
        "Check PostgreSQL and the pooler; if only this replica is affected, its network. It reconnects by itself within a second.",
        "FiaApiDatabaseUnavailable",
    ),
    (
        "valkey",
        Level::Degraded,
        "Every read goes to PostgreSQL; live logs end and are resumed.",
        "Repair Valkey. Replicas reconnect by themselves and repeat what is pending.",
        "FiaApiCacheUnavailable",
    ),
    (
        "tracking",
        Level::Degraded,
        "Memory is not used: reads go to Valkey, with more latency.",
        "It reconnects by itself. If it does not: may the user of Valkey run CLIENT TRACKING and INFO?",
        "FiaApiCacheUnavailable",
    ),
    (
        "change_feed",
        Level::Degraded,
        "Edits of instruments past the API show only when the TTL ends.",
        "Check DB_LISTEN_URL: it must lead to PostgreSQL itself, not to a pooler.",
        "FiaApiChangeFeedDown",
    ),
    (
        "rabbitmq",
        Level::Degraded,
        "New jobs are accepted and announced later.",
        "Check RabbitMQ: reachable, credentials, resource alarms. Nothing is lost.",
        "FiaApiJobsNotAnnounced",
    ),
    (
        "auth_service",
        Level::Degraded,
        "Job lists of users are 503 once their experiments have expired; without JWT_SECRET every token is 503.",
        "Check the auth service, and the key FIA_AUTH_API_KEY.",
        "FiaApiAuthServiceFailing",
    ),
    (
        "github",
        Level::Degraded,
        "The last known scripts (24 h) and runner images (1 h) are used.",
        "Check the proxy, the rate limit and the token of GitHub.",
        "FiaApiGitHubFailing",
    ),
];

impl Facts<'_> {
    /// All problems, the worst first.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut problems: Vec<Problem> = self.stale_samples().into_iter().collect();
        let has_valkey = self.down("valkey").is_none();
        // Client tracking is one of the connections to Valkey.
        let outages = OUTAGES
            .iter()
            .filter(|(id, ..)| has_valkey || *id != "tracking");
        let down = outages.filter_map(|outage| Some(self.outage(self.down(outage.0)?, outage)));
        problems.extend(down);
        problems.extend(self.pending_invalidations());
        problems.extend(self.messages());
        problems.extend(self.silent_replicas());
        problems.extend(self.draining());
        problems.sort_by_key(|problem| std::cmp::Reverse(problem.level));
        problems
    }

    fn outage(&self, down: &Dependency, (_, level, effect, remedy, runbook): &Outage) -> Problem {
        let failure = down.last_failure.as_ref();
        Problem {
            level: *level,
            what: format!("{} is unavailable", down.name),
            since: down.since,
            cause: failure.map(|failure| failure.text.clone()),
            effect,
            remedy,
            runbook,
        }
    }

    fn stale_samples(&self) -> Option<Problem> {
        let (_, stale) = self.compared;
        (stale > 0).then_some(Problem {
            level: Level::Failing,
            what: "Answers from memory differ from PostgreSQL".to_owned(),
            since: None,
            cause: None,
            effect: "Clients get values that were replaced.",
            remedy: "If other programs edit instruments, enable the change feed. Otherwise it is a defect: set CACHE_LOCAL=off, and report the log's lines about the key.",
            runbook: "FiaApiCacheStale",
        })
    }

    fn pending_invalidations(&self) -> Option<Problem> {
        (self.pending > 0).then(|| Problem {
            level: Level::Degraded,
            what: format!("{} invalidations are pending", self.pending),
            since: None,
            cause: None,
            effect: "This replica reads these keys from PostgreSQL; others may serve the values before until their TTL ends.",
            remedy: "They are repeated by themselves once Valkey accepts them.",
            runbook: "FiaApiCacheUnavailable",
        })
    }

    fn messages(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.parked > 0 {
            let messages = match self.parked {
                1 => "1 message is parked".to_owned(),
                parked => format!("{parked} messages are parked"),
            };
            problems.push(Problem {
                level: Level::Degraded,
                what: messages,
                since: None,
                cause: None,
                effect: "RabbitMQ refused them: their jobs are stored, but not announced.",
                remedy: "Raise the limit that the error names and retry them in the outbox below, or drop them.",
                runbook: "FiaApiMessageParked",
            });
        }
        if self.backlog > 0 && self.backlog_age >= MAX_BACKLOG_AGE {
            let age = duration_text(self.backlog_age);
            problems.push(Problem {
                level: Level::Degraded,
                what: format!("{} messages wait for RabbitMQ, the oldest for {age}", self.backlog),
                since: None,
                cause: None,
                effect: "Their jobs are stored, and announced later.",
                remedy: "Check RabbitMQ: reachable, credentials, resource alarms, the queue's declaration.",
                runbook: "FiaApiJobsNotAnnounced",
            });
        }
        problems
    }

    fn silent_replicas(&self) -> Vec<Problem> {
        let silent = self.fleet.silent.iter().map(|line| Problem {
            level: Level::Degraded,
            what: format!("The replica {} fell silent", line.replica),
            since: Some(At::from_unix(line.written)),
            cause: None,
            effect: "It ended without a shutdown, or cannot reach Valkey. Its last changes may show elsewhere only when the TTL ends.",
            remedy: "Look at its pod and log. If it was killed on purpose, nothing is to be done.",
            runbook: "FiaApiCacheUnavailable",
        });
        silent.collect()
    }

    fn draining(&self) -> Option<Problem> {
        self.is_draining.then(|| Problem {
            level: Level::Degraded,
            what: "This replica is shutting down".to_owned(),
            since: None,
            cause: None,
            effect: "It finishes the requests in flight; /ready is 503.",
            remedy: "Nothing: its supervisor starts it again.",
            runbook: "Rollout",
        })
    }
}
