//! Runner images of jobs.

use axum::extract::State;

use crate::auth::Caller;
use crate::extract::Authed;
use crate::routes::HandlerResult;
use crate::routes::conditional::{CacheScope, Negotiation};
use crate::state::AppState;

/// `GET /jobs/runners`: digests with their versions, in GitHub's order. If GitHub is unavailable,
/// the last known ones, marked as stale.
pub(super) async fn images(
    State(state): State<AppState>,
    negotiation: Negotiation,
    call: Authed<Caller, ()>,
) -> HandlerResult {
    let scope = CacheScope::Private(call.caller);
    let images = state.cached.runner_images(scope.freshness()).await?;
    Ok(negotiation.respond(images, scope))
}
