//! Jobs: lists, counts, single jobs and their updates.

mod input;
pub(super) mod new;

use axum::body::Body;
use axum::extract::State;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};

use crate::admission::ListPermit;
use crate::auth::{Caller, Staff};
use crate::error::ApiError;
use crate::extract::{Authed, OptionalAuth, Selected};
use crate::model::{Filters, InstrumentName, JobChanges, Selection};
use crate::ops::job_access;
use crate::routes::conditional::{CacheScope, Negotiation};
use crate::routes::{HandlerResult, json};
use crate::state::AppState;
use crate::store::StoreError;
use crate::store::jobs::{self, Listing};
use input::{Count, JobId, List, resolve_timestamps};

/// `GET /jobs`
pub(super) async fn all(
    State(state): State<AppState>,
    negotiation: Negotiation,
    call: Authed<Caller, List>,
) -> HandlerResult {
    list(&state, negotiation, None, call.caller, call.input).await
}

/// `GET /instrument/{instrument}/jobs`
pub(super) async fn of_instrument(
    State(state): State<AppState>,
    negotiation: Negotiation,
    call: Authed<Caller, (InstrumentName, List)>,
) -> HandlerResult {
    let (instrument, input) = call.input;
    list(&state, negotiation, Some(instrument), call.caller, input).await
}

/// `GET /jobs/count`
pub(super) async fn count(
    State(state): State<AppState>,
    negotiation: Negotiation,
    input: OptionalAuth<Count>,
) -> HandlerResult {
    let (scope, Count { filters }) = cache_scope(input);
    counted(&state, &negotiation, scope, None, filters.as_deref()).await
}

/// `GET /instrument/{instrument}/jobs/count`
pub(super) async fn count_of_instrument(
    State(state): State<AppState>,
    negotiation: Negotiation,
    input: OptionalAuth<(InstrumentName, Count)>,
) -> HandlerResult {
    let (scope, (instrument, Count { filters })) = cache_scope(input);
    let filters = filters.as_deref();
    counted(&state, &negotiation, scope, Some(instrument), filters).await
}

async fn counted(
    state: &AppState,
    negotiation: &Negotiation,
    scope: CacheScope,
    instrument: Option<InstrumentName>,
    filters: Option<&str>,
) -> HandlerResult {
    let selection = Selection {
        instrument,
        filters: Filters::parse(filters)?,
    };
    let count = state.cached.job_count(selection, scope.freshness());
    Ok(negotiation.respond(count.await?, scope))
}

fn cache_scope<P>(counted: OptionalAuth<P>) -> (CacheScope, P) {
    let OptionalAuth { caller, input } = counted;
    (
        caller.map_or(CacheScope::Public, CacheScope::Private),
        input,
    )
}

/// `GET /job/{job_id}`: a missing job is 404 for every caller.
pub(super) async fn one(
    State(state): State<AppState>,
    call: Authed<Caller, JobId>,
) -> HandlerResult {
    let found = jobs::find(&state.db, call.input.0).await?;
    let found = found.ok_or(ApiError::Missing)?;
    job_access::check(&state.cached, call.caller, found.owner).await?;
    Ok(json(found.body))
}

/// `PATCH /job/{job_id}`: the job watcher retries forever on any status but 200.
pub(super) async fn update(
    State(state): State<AppState>,
    call: Authed<Staff, JobId, Selected<JobChanges>>,
) -> HandlerResult {
    let Selected(mut changes) = call.body;
    resolve_timestamps(&state.db, &mut changes).await?;
    Ok(json(state.jobs.update(call.input.0, changes).await?))
}

async fn list(
    state: &AppState,
    negotiation: Negotiation,
    instrument: Option<InstrumentName>,
    caller: Caller,
    input: List,
) -> HandlerResult {
    let scope = CacheScope::Private(caller);
    let list = input.of(instrument, caller)?;
    if list.is_long() {
        let permit = state.admission.lists.acquire(caller)?;
        return long(state.cached.long_job_list(&list).await?, permit).await;
    }
    let page = state.cached.job_list(list, scope.freshness());
    Ok(negotiation.respond(page.await?, scope))
}

/// Streams a list. A failure before the first chunk is an error response; a later one breaks
/// the connection.
async fn long(mut listing: Listing, permit: ListPermit) -> HandlerResult {
    let first = listing.next().await?.unwrap_or_default();
    if listing.is_at_end() {
        return Ok(json(first));
    }
    let rest = stream::try_unfold((listing, permit), |(mut listing, permit)| async move {
        let piece = listing.next().await.inspect_err(cut)?;
        Ok(piece.map(|piece| (piece, (listing, permit))))
    });
    let first = stream::once(async { Ok::<Bytes, StoreError>(first) });
    Ok(json(Body::from_stream(first.chain(rest))))
}

fn cut(error: &StoreError) {
    tracing::warn!(%error, "streaming a job list failed: response truncated");
}
