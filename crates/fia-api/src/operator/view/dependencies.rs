//! The strip of dependencies: the state of each, since when, and its last failure.

use std::time::Duration;

use serde::Serialize;
use tiercache::{SharedLevel, Tracking};

use crate::observe::{HealthSnapshot, LastFailure};
use crate::operator::at::At;
use crate::operator::probes::Probes;
use crate::operator::view::called::state_of;
use crate::state::AppState;

/// The time since the last statement of the probe that was answered, after which PostgreSQL is
/// taken to be unavailable. The next one, a second later, is answered within milliseconds.
const MAX_SILENCE: Duration = Duration::from_millis(1_500);

/// A dependency.
#[derive(Debug, Clone, Serialize)]
pub(in crate::operator) struct Dependency {
    /// Its name for programs.
    pub(in crate::operator) id: &'static str,
    /// Its name for people.
    pub(in crate::operator) name: &'static str,
    pub(in crate::operator) state: State,
    /// The state in words.
    pub(in crate::operator) text: String,
    /// When the state began; `None` for a dependency that is not used, and where that is not known.
    pub(in crate::operator) since: Option<At>,
    pub(in crate::operator) last_failure: Option<Failure>,
}

/// The state of a dependency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::operator) enum State {
    Up,
    Down,
    /// Not called yet.
    Unknown,
    /// Not configured.
    Off,
}

/// The last failure of a dependency.
#[derive(Debug, Clone, Serialize)]
pub(in crate::operator) struct Failure {
    pub(in crate::operator) at: At,
    pub(in crate::operator) text: String,
}

impl From<LastFailure> for Failure {
    fn from(failure: LastFailure) -> Self {
        Self {
            at: At(failure.at),
            text: failure.text,
        }
    }
}

const UNAVAILABLE: &str = "unavailable";

/// All dependencies of this replica.
pub(in crate::operator) fn dependencies(state: &AppState, probes: &Probes) -> Vec<Dependency> {
    let mut all = vec![postgresql(state)];
    all.extend(valkey(state));
    all.push(change_feed(state));
    all.extend(called(state, probes));
    all
}

fn postgresql(state: &AppState) -> Dependency {
    let pool = state.db.connections();
    let detail = format!("{} / {} connections", pool.in_use, pool.max);
    let reachability = state.cached.reachability();
    let health = reachability.health();
    let mut found = Dependency::new("postgresql", "PostgreSQL", health, detail);
    if let Some(reply) = reachability.last_reply() {
        if found.state == State::Up && reply.sent.elapsed() > MAX_SILENCE {
            found.down();
        }
        if found.state == State::Down {
            found.since = Some(At(reply.at));
        }
    }
    found
}

fn valkey(state: &AppState) -> [Dependency; 2] {
    let (stats, health) = (state.cached.statistics(), state.cached.valkey_health());
    let openings = match stats.breaker_openings {
        0 => "circuit closed".to_owned(),
        1 => "circuit opened once".to_owned(),
        openings => format!("circuit opened {openings} times"),
    };
    let mut commands = Dependency::new("valkey", "Valkey", health.commands(), openings);
    commands.state = match stats.shared_level {
        SharedLevel::Off => State::Off,
        SharedLevel::Up => State::Up,
        SharedLevel::Down => State::Down,
    };
    let in_use = "memory in use".to_owned();
    let mut tracking = Dependency::new("tracking", "Client tracking", health.tracking(), in_use);
    tracking.state = match stats.tracking {
        Tracking::Off => State::Off,
        Tracking::Up(_) => State::Up,
        Tracking::Down => State::Down,
    };
    [commands.or_off(), tracking.or_off()]
}

fn change_feed(state: &AppState) -> Dependency {
    let stats = state.cached.change_feed();
    match (state.cached.change_feed_health(), stats) {
        (Some(health), Some(stats)) => {
            let detail = format!("{} notifications", stats.notifications);
            Dependency::new("change_feed", "Change feed", health, detail)
        }
        _ => Dependency::off("change_feed", "Change feed"),
    }
}

/// The dependencies that are called for requests, and probed while somebody looks.
fn called(state: &AppState, probes: &Probes) -> Vec<Dependency> {
    const NAMES: [(&str, &str); 3] = [
        ("rabbitmq", "RabbitMQ"),
        ("auth_service", "Auth service"),
        ("github", "GitHub"),
    ];
    let dependency = |(id, name)| {
        let operations = state.dependencies.iter().filter(|one| one.name == id);
        let operations: Vec<HealthSnapshot> = operations.map(|one| one.calls.health()).collect();
        let was_called = operations.iter().any(|one| one.up.is_some());
        let probed = probes.found(id);
        let text = match probed {
            Some(_) => "responds",
            None => "last call succeeded",
        };
        let health = state_of(operations, probed)?;
        let mut found = Dependency::new(id, name, health, text.to_owned());
        // The first probe found it available; since when is not known.
        if found.state == State::Up && !was_called && found.last_failure.is_none() {
            found.since = None;
        }
        Some(found)
    };
    NAMES.into_iter().filter_map(dependency).collect()
}

impl Dependency {
    /// A dependency with what is to be said of it while it is available.
    fn new(id: &'static str, name: &'static str, health: HealthSnapshot, up: String) -> Self {
        let (state, text) = match health.up {
            Some(true) => (State::Up, up),
            Some(false) => (State::Down, UNAVAILABLE.to_owned()),
            None => (State::Unknown, "not called yet".to_owned()),
        };
        Self {
            id,
            name,
            state,
            text,
            since: Some(At(health.since)),
            last_failure: health.last_failure.map(Failure::from),
        }
    }

    fn down(&mut self) {
        self.state = State::Down;
        self.text = UNAVAILABLE.to_owned();
    }

    fn off(id: &'static str, name: &'static str) -> Self {
        Self {
            id,
            name,
            state: State::Off,
            text: "not configured".to_owned(),
            since: None,
            last_failure: None,
        }
    }

    /// Adapts the words to the state, which another source has decided.
    fn or_off(mut self) -> Self {
        match self.state {
            State::Off => Self::off(self.id, self.name),
            State::Down => {
                self.down();
                self
            }
            State::Up | State::Unknown => self,
        }
    }
}
