//! The access log: one entry a request, probes excepted. It never holds a query, a header or a
//! body, which may contain secrets, and never who the caller is.
//!
//! Fields have the names of OpenTelemetry's semantic conventions where there is one.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use axum::response::Response;
use http::{HeaderValue, Method, Uri};
use http_body::Body as _;
use opentelemetry::trace::TraceId;
use tracing::Level;

use crate::app::facts::Facts;
use crate::traces::ServerAttributes;

/// The longest path that is logged, in bytes; the rest is cut off.
const MAX_PATH: usize = 256;

/// The access log entry of a request in flight.
pub(super) struct AccessLogEntry {
    start: Instant,
    method: Method,
    uri: Uri,
    client: Option<IpAddr>,
}

impl AccessLogEntry {
    /// Records the request and its arrival.
    pub(super) fn start(method: &Method, uri: &Uri, client: Option<IpAddr>) -> Self {
        Self {
            start: Instant::now(),
            method: method.clone(),
            uri: uri.clone(),
            client,
        }
    }

    /// The method of the request.
    pub(super) fn method(&self) -> &Method {
        &self.method
    }

    /// The address of the client, if the request came over a connection.
    pub(super) fn client(&self) -> Option<IpAddr> {
        self.client
    }

    /// The attributes of the request's span.
    pub(super) fn attributes<'a>(
        &'a self,
        response: &Response,
        facts: Facts,
        route: Option<&'static str>,
        id: &'a HeaderValue,
    ) -> ServerAttributes<'a> {
        ServerAttributes {
            method: &self.method,
            path: self.uri.path(),
            route,
            status: response.status(),
            cache: facts.cache.label(),
            caller: facts.caller_name(),
            client: self.client,
            request_id: id.to_str().unwrap_or_default(),
        }
    }

    /// The time since the request arrived.
    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Writes the entry: status 5xx at `warn`, all others at `info`.
    pub(super) fn finish(
        self,
        response: &Response,
        facts: Facts,
        route: Option<&'static str>,
        elapsed: Duration,
        id: &HeaderValue,
        trace_id: Option<TraceId>,
    ) {
        let failed = response.status().is_server_error();
        if !failed && (is_probe(&self.uri) || !tracing::enabled!(Level::INFO)) {
            return;
        }
        let path = self.uri.path();
        let path = cut(path, MAX_PATH);
        macro_rules! entry {
            ($level:expr, $message:literal) => {
                tracing::event!(
                    $level,
                    http.request.method = %self.method,
                    http.route = route,
                    url.path = path,
                    http.response.status_code = response.status().as_u16(),
                    // Unknown for a streamed body.
                    http.response.body.size = response.body().size_hint().exact(),
                    duration_ms = milliseconds(elapsed),
                    fia.cache = facts.cache.label(),
                    fia.caller = facts.caller_name(),
                    client.address = self.client.map(tracing::field::display),
                    request_id = id.to_str().unwrap_or_default(),
                    trace_id = trace_id.map(tracing::field::display),
                    $message
                )
            };
        }
        if failed {
            entry!(Level::WARN, "request failed");
        } else {
            entry!(Level::INFO, "request");
        }
    }
}

/// The beginning of a text, in whole characters: some clients send a path in raw UTF-8.
fn cut(text: &str, max: usize) -> &str {
    let mut ends = (0..=max.min(text.len())).rev();
    let end = ends.find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or_default()]
}

/// A duration to the microsecond.
fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// Whether the request is a Kubernetes probe.
pub(super) fn is_probe(uri: &Uri) -> bool {
    let path = uri.path();
    matches!(
        path.strip_prefix("/api").unwrap_or(path),
        "/healthz" | "/ready"
    )
}
