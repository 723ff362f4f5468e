//! The catalogue of the server's metrics: names, units, HELP texts and where each value comes from.

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

use crate::app::Edge;
use crate::app::metrics::{cache, process};
use crate::ops::Statistics;
use crate::store::Connections;

const PUBLISHED: &str = "fia_api_outbox_published_total";
const PUBLISH_FAILURES: &str = "fia_api_outbox_failures_total";
const BACKLOG: &str = "fia_api_outbox_backlog_messages";
const BACKLOG_AGE: &str = "fia_api_outbox_backlog_age_seconds";
const CONNECTIONS: &str = "fia_api_database_connections";
const CONNECTIONS_MAX: &str = "fia_api_database_connections_max";
const CONNECTIONS_AWAITED: &str = "fia_api_database_waiting_requests";
const FEED_UP: &str = "fia_api_change_feed_up";
const FEED_NOTIFICATIONS: &str = "fia_api_change_feed_notifications_total";
const FEED_RECONNECTS: &str = "fia_api_change_feed_reconnects_total";
const VIEWERS: &str = "fia_api_log_viewers";
const REQUESTS: &str = "fia_api_http_requests_total";
const REFUSED: &str = "fia_api_http_requests_refused_total";
const IN_FLIGHT: &str = "fia_api_http_requests_in_flight";
const BUILD: &str = "fia_api_build_info";

/// Name, unit and HELP of the counters.
const COUNTERS: [(&str, Unit, &str); 6] = [
    (PUBLISHED, Unit::Count, "Messages that RabbitMQ confirmed."),
    (
        PUBLISH_FAILURES,
        Unit::Count,
        "Publish attempts that RabbitMQ did not confirm.",
    ),
    (
        FEED_NOTIFICATIONS,
        Unit::Count,
        "Notifications of changed instruments from PostgreSQL.",
    ),
    (
        FEED_RECONNECTS,
        Unit::Count,
        "Reconnects of the change feed.",
    ),
    (REQUESTS, Unit::Count, "HTTP responses by status class."),
    (
        REFUSED,
        Unit::Count,
        "HTTP requests refused because too many were in flight.",
    ),
];

/// Name, unit and HELP of the gauges.
const GAUGES: [(&str, Unit, &str); 9] = [
    (
        BACKLOG,
        Unit::Count,
        "Messages waiting to be published, as of the last check.",
    ),
    (
        BACKLOG_AGE,
        Unit::Seconds,
        "Age of the oldest message waiting to be published.",
    ),
    (
        CONNECTIONS,
        Unit::Count,
        "Open connections to PostgreSQL by state.",
    ),
    (
        CONNECTIONS_MAX,
        Unit::Count,
        "Limit of open connections to PostgreSQL.",
    ),
    (
        CONNECTIONS_AWAITED,
        Unit::Count,
        "Requests waiting for a connection to PostgreSQL.",
    ),
    (
        FEED_UP,
        Unit::Count,
        "Whether the change feed is connected; absent where DB_LISTEN_URL is unset.",
    ),
    (VIEWERS, Unit::Count, "Open live log streams."),
    (
        IN_FLIGHT,
        Unit::Count,
        "HTTP requests whose response has not begun.",
    ),
    (
        BUILD,
        Unit::Count,
        "The running version as a label; always 1.",
    ),
];

/// Registers units and HELP texts.
pub(super) fn describe() {
    for (name, unit, help) in COUNTERS {
        describe_counter!(name, unit, help);
    }
    for (name, unit, help) in GAUGES {
        describe_gauge!(name, unit, help);
    }
    cache::describe();
    process::describe();
}

/// Collects all values.
pub(super) fn collect(edge: &Edge) {
    let state = edge.state();
    cache::collect(&state.cached.statistics());
    outbox(&state.jobs.outbox().statistics());
    connections(state.db.connections());
    if let Some(feed) = state.cached.change_feed() {
        gauge!(FEED_UP).set(u32::from(feed.up));
        counter!(FEED_NOTIFICATIONS).absolute(feed.notifications);
        counter!(FEED_RECONNECTS).absolute(feed.reconnects);
    }
    gauge!(VIEWERS).set(count(state.logs.viewers()));
    for (class, responses) in edge.metrics().by_class() {
        counter!(REQUESTS, "code" => class).absolute(responses);
    }
    counter!(REFUSED).absolute(edge.metrics().refused());
    gauge!(IN_FLIGHT).set(count(edge.in_flight()));
    gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION")).set(1);
}

fn outbox(outbox: &Statistics) {
    counter!(PUBLISHED).absolute(outbox.published);
    counter!(PUBLISH_FAILURES).absolute(outbox.failed);
    gauge!(BACKLOG).set(outbox.backlog.messages as f64);
    gauge!(BACKLOG_AGE).set(outbox.backlog.oldest.as_secs_f64());
}

fn connections(pool: Connections) {
    gauge!(CONNECTIONS, "state" => "in_use").set(count(pool.in_use));
    gauge!(CONNECTIONS, "state" => "idle").set(count(pool.idle));
    gauge!(CONNECTIONS_MAX).set(count(pool.max));
    gauge!(CONNECTIONS_AWAITED).set(count(pool.waiting));
}

fn count(n: usize) -> f64 {
    n as f64
}
