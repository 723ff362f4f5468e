//! The metrics of PostgreSQL, RabbitMQ, the auth service and GitHub.

use std::collections::BTreeMap;

use metrics::{Unit, counter, gauge};

use crate::app::metrics::family::Family;
use crate::app::metrics::histograms;
use crate::observe::Dependency;
use crate::state::AppState;

const UP: &str = "fia_api_dependency_up";
const FAILURES: &str = "fia_api_dependency_failures_total";
const CONNECTIONS: &str = "fia_api_database_connections";
const CONNECTIONS_MAX: &str = "fia_api_database_connections_max";
const CONNECTIONS_AWAITED: &str = "fia_api_database_waiting_requests";
const POOL_REFUSALS: &str = "fia_api_database_pool_refusals_total";
const POOL_TIMEOUTS: &str = "fia_api_database_pool_timeouts_total";
const REACHABLE: &str = "fia_api_database_reachable";
const PROBES: &str = "fia_api_database_probes_total";
const PROBE_FAILURES: &str = "fia_api_database_probe_failures_total";
const BYPASSES: &str = "fia_api_database_cache_bypasses_total";

pub(super) const FAMILIES: [Family; 13] = [
    Family::gauge(
        UP,
        &["dependency"],
        Unit::Count,
        "Whether the last call of every operation of the dependency (postgresql, rabbitmq, auth_service, github) got a response; absent before the first call.",
    ),
    CALLS,
    Family::counter(
        FAILURES,
        &["dependency", "operation", "kind"],
        "Failed calls: no usable response in time (unavailable), or an error response (refused).",
    ),
    Family::gauge(
        CONNECTIONS,
        &["state"],
        Unit::Count,
        "Open connections to PostgreSQL by state (in_use, idle).",
    ),
    Family::gauge(
        CONNECTIONS_MAX,
        &[],
        Unit::Count,
        "Limit of open connections to PostgreSQL.",
    ),
    Family::gauge(
        CONNECTIONS_AWAITED,
        &[],
        Unit::Count,
        "Requests waiting for a connection to PostgreSQL.",
    ),
    POOL_WAITS,
    Family::counter(
        POOL_REFUSALS,
        &[],
        "Requests refused at once, as they were expected to wait too long for a connection to PostgreSQL.",
    ),
    Family::counter(
        POOL_TIMEOUTS,
        &[],
        "Requests for which no connection to PostgreSQL became free in time.",
    ),
    Family::gauge(
        REACHABLE,
        &[],
        Unit::Count,
        "Whether the probe of PostgreSQL had a reply within the last 2 s.",
    ),
    Family::counter(PROBES, &[], "Probes of PostgreSQL, one a second."),
    Family::counter(
        PROBE_FAILURES,
        &[],
        "Probes of PostgreSQL without a reply in time.",
    ),
    Family::counter(
        BYPASSES,
        &[],
        "Reads of callers with the API key that bypassed the cache because PostgreSQL was not reachable.",
    ),
];

const CALLS: Family = Family::histogram(
    "fia_api_dependency_call_duration_seconds",
    &["dependency", "operation"],
    "Duration of calls, failed ones included; attempts to connect count if they fail.",
);

const POOL_WAITS: Family = Family::histogram(
    "fia_api_database_pool_wait_seconds",
    &[],
    "Wait for a connection to PostgreSQL, the time to open one included.",
);

pub(super) fn collect(state: &AppState) {
    for (name, up) in states(&state.dependencies) {
        gauge!(UP, "dependency" => name).set(u32::from(up));
    }
    for Dependency {
        name,
        operation,
        calls,
    } in &state.dependencies
    {
        for (kind, failures) in calls.failures() {
            counter!(FAILURES, "dependency" => *name, "operation" => *operation, "kind" => kind)
                .absolute(failures);
        }
    }
    let pool = state.db.connections();
    gauge!(CONNECTIONS, "state" => "in_use").set(pool.in_use as f64);
    gauge!(CONNECTIONS, "state" => "idle").set(pool.idle as f64);
    gauge!(CONNECTIONS_MAX).set(pool.max as f64);
    gauge!(CONNECTIONS_AWAITED).set(pool.waiting as f64);
    counter!(POOL_REFUSALS).absolute(state.db.refused());
    counter!(POOL_TIMEOUTS).absolute(state.db.metrics().pool_timeouts());
    let probe = state.cached.reachability().stats();
    gauge!(REACHABLE).set(u32::from(probe.is_reachable));
    counter!(PROBES).absolute(probe.probes);
    counter!(PROBE_FAILURES).absolute(probe.failures);
    counter!(BYPASSES).absolute(state.cached.bypasses());
}

/// Appends the histograms.
pub(super) fn write(text: &mut String, state: &AppState) {
    let series = state.dependencies.iter();
    let series = series.map(|one| ([one.name, one.operation], one.calls.durations()));
    histograms::write(text, &CALLS, series);
    let waits = state.db.metrics().pool_waits.snapshot();
    histograms::write(text, &POOL_WAITS, std::iter::once(([], waits)));
}

/// The dependencies that were called, each with whether all of its operations are up.
fn states(dependencies: &[Dependency]) -> BTreeMap<&'static str, bool> {
    let mut states = BTreeMap::new();
    for dependency in dependencies {
        if let Some(up) = dependency.calls.up() {
            *states.entry(dependency.name).or_insert(true) &= up;
        }
    }
    states
}
