//! The images that jobs can run in.

use axum::extract::State;

use crate::auth::Caller;
use crate::extract::Authed;
use crate::routes::Answer;
use crate::routes::cached::{Audience, Known};
use crate::state::AppState;

/// `GET /jobs/runners`: digests with their versions, newest first. Where GitHub fails, the last
/// known ones, marked as stale.
pub(super) async fn images(
    State(state): State<AppState>,
    known: Known,
    call: Authed<Caller, ()>,
) -> Answer {
    let images = state.cached.runner_images().await?;
    Ok(known.answer(images, Audience::Only(call.caller)))
}
