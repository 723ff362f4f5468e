//! What the page and its background tasks share, and the collection of what the page shows.

use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::app::{Edge, LogLevel};
use crate::config::Config;
use crate::operator::actions::ActionRecord;
use crate::operator::at::At;
use crate::operator::fleet::{self, FleetWatch, Line};
use crate::operator::history::History;
use crate::operator::probes::Probes;
use crate::operator::valkey::Valkey;
use crate::operator::verdict::{Bounds, Facts, Verdict};
use crate::operator::view::{
    Dependency, KeyQuery, Keys, Overview, ThisReplica, dependencies, outbox, reads, slow, streams,
};

/// How long a request waits for a change of the state, if it asks for that.
const MAX_WAIT: Duration = Duration::from_secs(1);
/// The interval in which such a request looks.
const LOOK: Duration = Duration::from_millis(100);

/// What the page and its background tasks share.
pub(super) struct Shared {
    pub(super) id: String,
    started: At,
    pub(super) edge: Edge,
    pub(super) log_level: LogLevel,
    pub(super) history: History,
    pub(super) fleet: FleetWatch,
    pub(super) valkey: Valkey,
    pub(super) probes: Probes,
    /// Of the digests of states.
    hasher: RandomState,
}

impl Shared {
    pub(super) fn new(config: &Config, edge: Edge, log_level: LogLevel) -> Self {
        Self {
            id: replica_id(),
            started: At::now(),
            edge,
            log_level,
            history: History::default(),
            fleet: FleetWatch::default(),
            valkey: Valkey::new(&config.cache, fleet::REPLICAS),
            probes: Probes::new(),
            hasher: RandomState::new(),
        }
    }

    /// Waits until the state is another than the one with this digest, for at most a second.
    pub(super) async fn wait_for_change(&self, from: &str) {
        let end = Instant::now() + MAX_WAIT;
        while Instant::now() < end && self.state() == from {
            sleep(LOOK).await;
        }
    }

    /// A digest of the state.
    fn state(&self) -> String {
        let dependencies = self.dependencies();
        self.digest(&self.verdict(&dependencies), &dependencies)
    }

    /// A digest of what an operator must see at once: not of ages and counts.
    fn digest(&self, verdict: &Verdict, dependencies: &[Dependency]) -> String {
        let problems = verdict.problems.iter().map(|problem| &problem.what);
        let states = dependencies.iter().map(|one| (one.id, one.state as u8));
        let state = (
            &verdict.announcement,
            problems.collect::<Vec<_>>(),
            states.collect::<Vec<_>>(),
        );
        format!("{:016x}", self.hasher.hash_one(state))
    }

    fn dependencies(&self) -> Vec<Dependency> {
        dependencies(self.edge.state(), &self.probes)
    }

    /// All that the page shows.
    pub(super) async fn overview(&self, query: &KeyQuery, actions: Vec<ActionRecord>) -> Overview {
        let state = self.edge.state();
        let dependencies = self.dependencies();
        let verdict = self.verdict(&dependencies);
        let fleet = self.fleet.fleet(self.line_with(&verdict));
        let (keys, outbox) = tokio::join!(
            Keys::find(query, &state.cached, &self.valkey),
            outbox(state)
        );
        Overview {
            at: At::now(),
            state: self.digest(&verdict, &dependencies),
            verdict,
            replica: self.replica(),
            dependencies,
            reads: reads(&self.edge, &self.history),
            keys,
            fleet,
            outbox,
            streams: streams(state),
            slow: slow(state),
            actions,
        }
    }

    fn verdict(&self, dependencies: &[Dependency]) -> Verdict {
        let state = self.edge.state();
        let backlog = state.jobs.outbox().statistics().backlog;
        let own = String::new();
        let fleet = self.fleet.fleet(Line {
            replica: self.id.clone(),
            ..self.bare_line(own)
        });
        let facts = Facts {
            dependencies,
            bounds: Bounds::new(
                &state.cached.reads(),
                state.cached.change_feed().is_some(),
                state.cached.job_groups().are_enabled(),
            ),
            pending: state.cached.statistics().pending_invalidations,
            compared: self.history.compared(),
            fleet: &fleet,
            backlog: backlog.messages,
            backlog_age: backlog.oldest,
            parked: backlog.parked,
            is_draining: state.readiness.is_draining(),
        };
        facts.verdict()
    }

    fn replica(&self) -> ThisReplica {
        let state = self.edge.state();
        let cache = state.cached.statistics();
        let (level, until) = self.log_level.current();
        ThisReplica {
            id: self.id.clone(),
            version: env!("CARGO_PKG_VERSION"),
            started: self.started,
            is_draining: state.readiness.is_draining(),
            requests_per_second: self.history.responses_per_second(),
            local_bytes: cache.local_bytes,
            local_entries: cache.local_entries,
            log_level: level.to_string().to_lowercase(),
            log_level_until: until.map(At),
        }
    }

    /// This replica's line of the fleet.
    pub(super) fn line(&self) -> Line {
        let verdict = self.verdict(&self.dependencies());
        self.line_with(&verdict)
    }

    fn line_with(&self, verdict: &Verdict) -> Line {
        Line {
            level: verdict.level.as_str().to_owned(),
            ..self.bare_line(verdict.sentence.clone())
        }
    }

    /// The line without the level.
    fn bare_line(&self, sentence: String) -> Line {
        let state = self.edge.state();
        let cache = state.cached.statistics();
        Line {
            replica: self.id.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: self.started.unix(),
            written: At::now().unix(),
            level: String::new(),
            sentence,
            requests_per_second: self.history.responses_per_second(),
            local_entries: cache.local_entries,
            pending_invalidations: cache.pending_invalidations,
            is_draining: state.readiness.is_draining(),
        }
    }
}

/// The name of the host, which in Kubernetes is that of the pod, and four random digits: several
/// processes may run on one host.
fn replica_id() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname");
    let host = host.map(|host| host.trim().to_owned()).unwrap_or_default();
    let host = if host.is_empty() { "fia-api" } else { &host };
    format!("{host}-{:04x}", rand::random::<u16>())
}
