//! The images that jobs can run in.

use axum::extract::State;

use crate::auth::Caller;
use crate::extract::Authed;
use crate::routes::Answer;
use crate::routes::cached::{Known, Reuse};
use crate::state::AppState;

/// `GET /jobs/runners`: digests with their versions, newest first. Where GitHub fails, the last
/// known ones, marked as stale.
pub(super) async fn images(
    State(state): State<AppState>,
    known: Known,
    _: Authed<Caller, ()>,
) -> Answer {
    Ok(known.answer(state.cached.runner_images().await?, Reuse::Private))
}
