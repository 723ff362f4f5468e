//! The access log: one entry a request, probes excepted. It never holds a query, a header or a
//! body, which may contain secrets.

use std::time::{Duration, Instant};

use http::{HeaderValue, Method, StatusCode, Uri};
use tracing::Level;

/// The longest path that is logged, in bytes; the rest is cut off.
const MAX_PATH: usize = 256;

/// The access log entry of a request in flight.
pub(super) struct AccessLogEntry {
    start: Instant,
    method: Method,
    uri: Uri,
}

impl AccessLogEntry {
    /// Records the request and its arrival.
    pub(super) fn start(method: &Method, uri: &Uri) -> Self {
        Self {
            start: Instant::now(),
            method: method.clone(),
            uri: uri.clone(),
        }
    }

    /// The time since the request arrived.
    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Writes the entry: status 5xx at `warn`, all others at `info`.
    pub(super) fn finish(self, status: StatusCode, elapsed: Duration, id: &HeaderValue) {
        let failed = status.is_server_error();
        if !failed && (is_probe(&self.uri) || !tracing::enabled!(Level::INFO)) {
            return;
        }
        let path = self.uri.path();
        // A path on the wire is ASCII: any cut is at a character boundary.
        let path = path.get(..MAX_PATH).unwrap_or(path);
        let (method, id) = (&self.method, id.to_str().unwrap_or_default());
        // To a tenth of a millisecond.
        let elapsed_ms = (elapsed.as_secs_f64() * 1e4).round() / 10.0;
        let status = status.as_u16();
        if failed {
            tracing::warn!(%method, path, status, elapsed_ms, id, "request failed");
        } else {
            tracing::info!(%method, path, status, elapsed_ms, id, "request");
        }
    }
}

/// Whether the request is a Kubernetes probe.
pub(super) fn is_probe(uri: &Uri) -> bool {
    let path = uri.path();
    matches!(
        path.strip_prefix("/api").unwrap_or(path),
        "/healthz" | "/ready"
    )
}
