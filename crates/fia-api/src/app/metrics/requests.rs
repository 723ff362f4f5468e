//! The metrics of HTTP requests.

use metrics::{Unit, counter, gauge};

use crate::app::Edge;
use crate::app::metrics::family::Family;
use crate::app::metrics::histograms;

const RESPONSES: &str = "fia_api_http_requests_total";
const REFUSED: &str = "fia_api_http_requests_refused_total";
const IN_FLIGHT: &str = "fia_api_http_requests_in_flight";
const HELD: &str = "fia_api_http_requests_held";
const RECEIVING: &str = "fia_api_http_bodies_receiving";

pub(super) const FAMILIES: [Family; 6] = [
    Family::counter(
        RESPONSES,
        &["route", "method", "code", "cache"],
        "HTTP responses by path template, method, status and part of the cache (none, local, shared, miss, stale).",
    ),
    DURATIONS,
    Family::counter(
        REFUSED,
        &["reason"],
        "HTTP requests refused because too many were in flight (in_flight), too many bodies were being received (receiving), or an address exceeded OPEN_RATE_LIMIT (open_rate).",
    ),
    Family::gauge(
        IN_FLIGHT,
        &[],
        Unit::Count,
        "HTTP requests whose body is complete and whose response has not begun.",
    ),
    Family::gauge(
        HELD,
        &[],
        Unit::Count,
        "Autoreduction requests that wait until the database or GitHub is available.",
    ),
    Family::gauge(
        RECEIVING,
        &[],
        Unit::Count,
        "HTTP requests whose body is being received.",
    ),
];

const DURATIONS: Family = Family::histogram(
    "fia_api_http_request_duration_seconds",
    &["route", "method", "cache"],
    "Time from the head of a request to the head of its response.",
);

pub(super) fn collect(edge: &Edge) {
    let metrics = edge.metrics();
    for (labels, code, responses) in metrics.responses() {
        counter!(
            RESPONSES,
            "route" => labels.route,
            "method" => labels.method,
            "code" => code,
            "cache" => labels.cache
        )
        .absolute(responses);
    }
    let admission = &edge.state().admission;
    for (reason, refused) in [
        ("in_flight", admission.in_flight.refused()),
        ("receiving", admission.bodies.refused()),
        ("open_rate", admission.open_routes.refused()),
    ] {
        counter!(REFUSED, "reason" => reason).absolute(refused);
    }
    gauge!(IN_FLIGHT).set(admission.in_flight.in_use() as f64);
    gauge!(HELD).set(edge.state().held.count() as f64);
    gauge!(RECEIVING).set(admission.bodies.in_use() as f64);
}

/// Appends the histograms.
pub(super) fn write(text: &mut String, edge: &Edge) {
    let series = edge.metrics().durations();
    let series =
        series.map(|(labels, durations)| ([labels.route, labels.method, labels.cache], durations));
    histograms::write(text, &DURATIONS, series);
}
