//! The catalogue of the server's metrics: names, units, HELP texts and where each value comes from.

use metrics::{Unit, counter, gauge};

use crate::app::Edge;
use crate::app::metrics::family::Family;
use crate::app::metrics::{cache, dependencies, process, requests};
use crate::ops::Statistics;

const PUBLISHED: &str = "fia_api_outbox_published_total";
const PUBLISH_FAILURES: &str = "fia_api_outbox_failures_total";
const BACKLOG: &str = "fia_api_outbox_backlog_messages";
const BACKLOG_AGE: &str = "fia_api_outbox_backlog_age_seconds";
const PARKED: &str = "fia_api_outbox_parked_messages";
const FEED_UP: &str = "fia_api_change_feed_up";
const FEED_NOTIFICATIONS: &str = "fia_api_change_feed_notifications_total";
const FEED_RECONNECTS: &str = "fia_api_change_feed_reconnects_total";
const VIEWERS: &str = "fia_api_log_viewers";
const VIEWERS_MAX: &str = "fia_api_log_viewers_max";
const BUILD: &str = "fia_api_build_info";

/// The metrics of no other file.
const FAMILIES: [Family; 11] = [
    Family::counter(PUBLISHED, &[], "Messages that RabbitMQ confirmed."),
    Family::counter(
        PUBLISH_FAILURES,
        &[],
        "Publish attempts that RabbitMQ did not confirm.",
    ),
    Family::gauge(
        BACKLOG,
        &[],
        Unit::Count,
        "Messages waiting to be published, as of the last check.",
    ),
    Family::gauge(
        BACKLOG_AGE,
        &[],
        Unit::Seconds,
        "Age of the oldest message waiting to be published.",
    ),
    Family::gauge(
        PARKED,
        &[],
        Unit::Count,
        "Messages that RabbitMQ refuses, to be retried or dropped by an operator.",
    ),
    Family::gauge(
        FEED_UP,
        &[],
        Unit::Count,
        "Whether the change feed is connected; absent where DB_LISTEN_URL is unset.",
    ),
    Family::counter(
        FEED_NOTIFICATIONS,
        &[],
        "Notifications of changed instruments from PostgreSQL.",
    ),
    Family::counter(FEED_RECONNECTS, &[], "Reconnects of the change feed."),
    Family::gauge(VIEWERS, &[], Unit::Count, "Open live log streams."),
    Family::gauge(
        VIEWERS_MAX,
        &[],
        Unit::Count,
        "Limit of open live log streams.",
    ),
    Family::gauge(
        BUILD,
        &["version"],
        Unit::Count,
        "The running version as a label; always 1.",
    ),
];

/// All metric families.
pub(super) fn families() -> Vec<Family> {
    let mut families = Vec::new();
    families.extend(requests::FAMILIES);
    families.extend(cache::families());
    families.extend(dependencies::FAMILIES);
    families.extend(FAMILIES);
    families.extend(process::FAMILIES);
    families
}

/// Collects all values but those of histograms.
pub(super) fn collect(edge: &Edge) {
    let state = edge.state();
    requests::collect(edge);
    cache::collect(&state.cached.statistics());
    dependencies::collect(state);
    outbox(&state.jobs.outbox().statistics());
    if let Some(feed) = state.cached.change_feed() {
        gauge!(FEED_UP).set(u32::from(feed.up));
        counter!(FEED_NOTIFICATIONS).absolute(feed.notifications);
        counter!(FEED_RECONNECTS).absolute(feed.reconnects);
    }
    gauge!(VIEWERS).set(state.logs.viewers() as f64);
    gauge!(VIEWERS_MAX).set(state.logs.max_viewers() as f64);
    gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION")).set(1);
    process::collect();
}

/// Appends the histograms.
pub(super) fn write_histograms(text: &mut String, edge: &Edge) {
    requests::write(text, edge);
    dependencies::write(text, edge.state());
}

fn outbox(outbox: &Statistics) {
    counter!(PUBLISHED).absolute(outbox.published);
    counter!(PUBLISH_FAILURES).absolute(outbox.failed);
    gauge!(BACKLOG).set(outbox.backlog.messages as f64);
    gauge!(BACKLOG_AGE).set(outbox.backlog.oldest.as_secs_f64());
    gauge!(PARKED).set(outbox.backlog.parked as f64);
}
