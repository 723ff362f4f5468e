//! One line in the log for each request, the probes left out. Never a query, a header or a
//! body: they may hold secrets.

use std::time::Instant;

use http::{Method, StatusCode, Uri};

/// The longest part of a path that is logged, in bytes.
const MAX_PATH: usize = 256;

/// A request's line in the making.
pub(super) struct Line(Option<Started>);

struct Started {
    at: Instant,
    method: Method,
    path: String,
}

impl Line {
    /// Notes when and what was asked; nothing where the line would not be written.
    pub(super) fn start(method: &Method, uri: &Uri) -> Self {
        let path = uri.path();
        let probe = path.ends_with("/healthz") || path.ends_with("/ready");
        if probe || !tracing::enabled!(tracing::Level::INFO) {
            return Self(None);
        }
        Self(Some(Started {
            at: Instant::now(),
            method: method.clone(),
            // A path on the wire is ASCII: it can be cut anywhere.
            path: path.get(..MAX_PATH).unwrap_or(path).to_owned(),
        }))
    }

    /// Writes the line.
    pub(super) fn end(self, status: StatusCode) {
        if let Some(Started { at, method, path }) = self.0 {
            let ms = at.elapsed().as_secs_f64() * 1e3;
            tracing::info!(%method, path, status = status.as_u16(), "{ms:.1} ms");
        }
    }
}
