//! Is this process alive, and can it serve?

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;

use crate::error::ApiError;
use crate::routes::{HandlerResult, json};
use crate::state::AppState;

const OK: Bytes = Bytes::from_static(b"\"ok\"");

/// `GET /healthz`: asks nothing of anybody.
pub(super) async fn healthz() -> Response {
    json(OK)
}

/// `GET /ready`: the database alone; without Valkey this server is slower, but it serves.
pub(super) async fn ready(State(state): State<AppState>) -> HandlerResult {
    match state.db.ping().await {
        Ok(()) => Ok(json(OK)),
        Err(error) => {
            tracing::warn!(%error, "not ready");
            Err(ApiError::Unavailable)
        }
    }
}
