//! What the other parts of the server count, under the names and in the units of Prometheus.

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

use crate::app::Edge;
use crate::app::metrics::{cache, process};
use crate::ops::Statistics;
use crate::store::Connections;

const PUBLISHED: &str = "fia_api_outbox_published_total";
const UNCONFIRMED: &str = "fia_api_outbox_failures_total";
const BACKLOG: &str = "fia_api_outbox_backlog_messages";
const BACKLOG_AGE: &str = "fia_api_outbox_backlog_age_seconds";
const CONNECTIONS: &str = "fia_api_database_connections";
const CONNECTIONS_MAX: &str = "fia_api_database_connections_max";
const CONNECTIONS_WANTED: &str = "fia_api_database_waiting_requests";
const FEED_UP: &str = "fia_api_change_feed_up";
const FEED_NOTIFICATIONS: &str = "fia_api_change_feed_notifications_total";
const FEED_RECONNECTS: &str = "fia_api_change_feed_reconnects_total";
const VIEWERS: &str = "fia_api_log_viewers";
const REQUESTS: &str = "fia_api_http_requests_total";
const REFUSED: &str = "fia_api_http_requests_refused_total";
const IN_FLIGHT: &str = "fia_api_http_requests_in_flight";
const BUILD: &str = "fia_api_build_info";

/// What only grows.
const COUNTERS: [(&str, Unit, &str); 6] = [
    (
        PUBLISHED,
        Unit::Count,
        "Messages that RabbitMQ has confirmed.",
    ),
    (
        UNCONFIRMED,
        Unit::Count,
        "Attempts to publish that it did not confirm.",
    ),
    (
        FEED_NOTIFICATIONS,
        Unit::Count,
        "Changes of instruments that PostgreSQL told of.",
    ),
    (
        FEED_RECONNECTS,
        Unit::Count,
        "Times that the connection for that was made anew.",
    ),
    (
        REQUESTS,
        Unit::Count,
        "Requests answered, by class of status.",
    ),
    (
        REFUSED,
        Unit::Count,
        "Requests turned away because too many were under way.",
    ),
];

/// What goes up and down.
const GAUGES: [(&str, Unit, &str); 9] = [
    (
        BACKLOG,
        Unit::Count,
        "Messages that wait to be published, as last seen.",
    ),
    (
        BACKLOG_AGE,
        Unit::Seconds,
        "For how long the oldest of them has waited.",
    ),
    (
        CONNECTIONS,
        Unit::Count,
        "Open connections to PostgreSQL, by what they do.",
    ),
    (CONNECTIONS_MAX, Unit::Count, "The most that there may be."),
    (
        CONNECTIONS_WANTED,
        Unit::Count,
        "Requests that wait for a connection to PostgreSQL.",
    ),
    (
        FEED_UP,
        Unit::Count,
        "Whether PostgreSQL tells of changed instruments; absent if it is not asked to.",
    ),
    (VIEWERS, Unit::Count, "Live log streams that are open."),
    (
        IN_FLIGHT,
        Unit::Count,
        "Requests under way whose answer has not begun.",
    ),
    (BUILD, Unit::Count, "Which version this is; always 1."),
];

/// Says what each number means.
pub(super) fn describe() {
    for (name, unit, meaning) in COUNTERS {
        describe_counter!(name, unit, meaning);
    }
    for (name, unit, meaning) in GAUGES {
        describe_gauge!(name, unit, meaning);
    }
    cache::describe();
    process::describe();
}

/// Takes all numbers.
pub(super) fn take(edge: &Edge) {
    let state = edge.state();
    cache::take(&state.cached.statistics());
    outbox(&state.jobs.outbox().statistics());
    connections(state.db.connections());
    if let Some(feed) = state.cached.feed() {
        gauge!(FEED_UP).set(u32::from(feed.up));
        counter!(FEED_NOTIFICATIONS).absolute(feed.notifications);
        counter!(FEED_RECONNECTS).absolute(feed.reconnects);
    }
    gauge!(VIEWERS).set(count(state.logs.viewers()));
    for (class, answers) in edge.traffic().by_class() {
        counter!(REQUESTS, "code" => class).absolute(answers);
    }
    counter!(REFUSED).absolute(edge.traffic().refusals());
    gauge!(IN_FLIGHT).set(count(edge.in_flight()));
    gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION")).set(1);
}

fn outbox(outbox: &Statistics) {
    counter!(PUBLISHED).absolute(outbox.published);
    counter!(UNCONFIRMED).absolute(outbox.failed);
    gauge!(BACKLOG).set(outbox.backlog.messages as f64);
    gauge!(BACKLOG_AGE).set(outbox.backlog.oldest.as_secs_f64());
}

fn connections(pool: Connections) {
    gauge!(CONNECTIONS, "state" => "in_use").set(count(pool.in_use));
    gauge!(CONNECTIONS, "state" => "idle").set(count(pool.idle));
    gauge!(CONNECTIONS_MAX).set(count(pool.max));
    gauge!(CONNECTIONS_WANTED).set(count(pool.waiting));
}

fn count(n: usize) -> f64 {
    n as f64
}
