//! One line in the log for each request, the probes left out. Never a query, a header or a
//! body: they may hold secrets.

use std::time::{Duration, Instant};

use http::{HeaderValue, Method, StatusCode, Uri};
use tracing::Level;

/// The longest part of a path that is logged, in bytes.
const MAX_PATH: usize = 256;

/// A request's line in the making.
pub(super) struct Line {
    began: Instant,
    method: Method,
    uri: Uri,
}

impl Line {
    /// Notes when and what was asked.
    pub(super) fn start(method: &Method, uri: &Uri) -> Self {
        Self {
            began: Instant::now(),
            method: method.clone(),
            uri: uri.clone(),
        }
    }

    /// How long ago that was.
    pub(super) fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// Writes the line: a failure of ours at `warn`, anything else at `info`.
    pub(super) fn end(self, status: StatusCode, took: Duration, id: &HeaderValue) {
        let failed = status.is_server_error();
        if !failed && (is_probe(&self.uri) || !tracing::enabled!(Level::INFO)) {
            return;
        }
        let path = self.uri.path();
        // A path on the wire is ASCII: it can be cut anywhere.
        let path = path.get(..MAX_PATH).unwrap_or(path);
        let (method, id) = (&self.method, id.to_str().unwrap_or_default());
        let ms = took.as_secs_f64() * 1e3;
        let status = status.as_u16();
        if failed {
            tracing::warn!(%method, path, status, id, "{ms:.1} ms");
        } else {
            tracing::info!(%method, path, status, id, "{ms:.1} ms");
        }
    }
}

/// Whether this is Kubernetes asking how we are.
pub(super) fn is_probe(uri: &Uri) -> bool {
    let path = uri.path();
    matches!(
        path.strip_prefix("/api").unwrap_or(path),
        "/healthz" | "/ready"
    )
}
