//! Liveness and readiness probes.

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;

use crate::error::ApiError;
use crate::routes::{HandlerResult, json};
use crate::state::AppState;

const OK: Bytes = Bytes::from_static(b"\"ok\"");

/// `GET /healthz`: checks no dependency.
pub(super) async fn healthz() -> Response {
    json(OK)
}

/// `GET /ready`: PostgreSQL responds, and this replica is not shutting down. Valkey is not
/// checked; without it the server is slower but can serve.
pub(super) async fn ready(State(state): State<AppState>) -> HandlerResult {
    if state.readiness.is_draining() {
        return Err(ApiError::Unavailable);
    }
    match state.db.ping().await {
        Ok(()) => Ok(json(OK)),
        Err(error) => {
            tracing::warn!(%error, "readiness check failed: PostgreSQL unavailable");
            Err(ApiError::Unavailable)
        }
    }
}
