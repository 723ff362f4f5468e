//! Jobs: lists, counts, one of them, and what the job watcher says of it.

mod input;
pub(super) mod new;

use axum::body::Body;
use axum::extract::State;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};

use crate::auth::{Caller, Staff};
use crate::error::ApiError;
use crate::extract::{Authed, Counted};
use crate::model::{Filters, InstrumentName, Selection};
use crate::ops::job_access;
use crate::routes::cached::{Audience, Known};
use crate::routes::{Answer, json};
use crate::state::AppState;
use crate::store::StoreError;
use crate::store::jobs::{self, Listing};
use input::{Changes, Count, JobId, List};

/// `GET /jobs`
pub(super) async fn all(
    State(state): State<AppState>,
    known: Known,
    call: Authed<Caller, List>,
) -> Answer {
    list(&state, known, None, call.caller, call.input).await
}

/// `GET /instrument/{instrument}/jobs`
pub(super) async fn of_instrument(
    State(state): State<AppState>,
    known: Known,
    call: Authed<Caller, (InstrumentName, List)>,
) -> Answer {
    let (instrument, input) = call.input;
    list(&state, known, Some(instrument), call.caller, input).await
}

/// `GET /jobs/count`
pub(super) async fn count(
    State(state): State<AppState>,
    known: Known,
    input: Counted<Count>,
) -> Answer {
    let (audience, Count { filters }) = audience(input);
    counted(&state, &known, audience, None, filters.as_deref()).await
}

/// `GET /instrument/{instrument}/jobs/count`
pub(super) async fn count_of_instrument(
    State(state): State<AppState>,
    known: Known,
    input: Counted<(InstrumentName, Count)>,
) -> Answer {
    let (audience, (instrument, Count { filters })) = audience(input);
    let filters = filters.as_deref();
    counted(&state, &known, audience, Some(instrument), filters).await
}

async fn counted(
    state: &AppState,
    known: &Known,
    audience: Audience,
    instrument: Option<InstrumentName>,
    filters: Option<&str>,
) -> Answer {
    let selection = Selection {
        instrument,
        filters: Filters::parse(filters)?,
    };
    Ok(known.answer(state.cached.job_count(selection).await?, audience))
}

fn audience<P>(counted: Counted<P>) -> (Audience, P) {
    let Counted { caller, input } = counted;
    (caller.map_or(Audience::Anybody, Audience::Only), input)
}

/// `GET /job/{job_id}`: a job that is not there is 404 for everybody.
pub(super) async fn one(State(state): State<AppState>, call: Authed<Caller, JobId>) -> Answer {
    let found = jobs::find(&state.db, call.input.0).await?;
    let found = found.ok_or(ApiError::Missing)?;
    job_access::check(&state.cached, call.caller, found.owner).await?;
    Ok(json(found.body))
}

/// `PATCH /job/{job_id}`: its caller tries for ever until the answer is 200.
pub(super) async fn update(
    State(state): State<AppState>,
    call: Authed<Staff, JobId, Changes>,
) -> Answer {
    let changes = call.body.read_moments(&state.db).await?;
    let body = jobs::update(&state.db, call.input.0, changes).await?;
    Ok(json(body.ok_or(ApiError::Missing)?))
}

async fn list(
    state: &AppState,
    known: Known,
    instrument: Option<InstrumentName>,
    caller: Caller,
    input: List,
) -> Answer {
    let audience = Audience::Only(caller);
    let list = input.of(instrument, caller)?;
    if list.is_long() {
        return long(state.cached.long_job_list(&list).await?).await;
    }
    Ok(known.answer(state.cached.job_list(list).await?, audience))
}

/// Sends a list while it is read. What goes wrong before the first piece is still an error of
/// the request; later on all that can be done is to break the connection.
async fn long(mut listing: Listing) -> Answer {
    let first = listing.next().await?.unwrap_or_default();
    if listing.is_at_end() {
        return Ok(json(first));
    }
    let rest = stream::try_unfold(listing, |mut listing| async move {
        let piece = listing.next().await.inspect_err(cut)?;
        Ok(piece.map(|piece| (piece, listing)))
    });
    let first = stream::once(async { Ok::<Bytes, StoreError>(first) });
    Ok(json(Body::from_stream(first.chain(rest))))
}

fn cut(error: &StoreError) {
    tracing::warn!(%error, "a long list of jobs was cut short");
}
