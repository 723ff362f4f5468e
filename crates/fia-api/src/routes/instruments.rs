//! An instrument's specification and latest run: for staff and programs.

use axum::extract::State;

use crate::auth::Staff;
use crate::extract::{Authed, Fields, FromBody, Json, RawBody, ValidationErrors};
use crate::model::json::render;
use crate::model::{CachedColumn, InstrumentName};
use crate::routes::conditional::{CacheScope, IfNoneMatch};
use crate::routes::{HandlerResult, json};
use crate::state::AppState;

/// `GET /instrument/{instrument}/latest-run`
pub(super) async fn latest_run(
    State(state): State<AppState>,
    if_none_match: IfNoneMatch,
    call: Authed<Staff, InstrumentName>,
) -> HandlerResult {
    let found = state
        .cached
        .column(CachedColumn::LatestRun, &call.input)
        .await?;
    Ok(if_none_match.respond(found, CacheScope::Private(call.caller.caller())))
}

/// `PUT /instrument/{instrument}/latest-run`
pub(super) async fn update_latest_run(
    State(state): State<AppState>,
    call: Authed<Staff, InstrumentName, LatestRun>,
) -> HandlerResult {
    let run = call.body.0;
    let body = render(&serde_json::json!({ "latest_run": run }));
    state
        .cached
        .set_column(CachedColumn::LatestRun, call.input, run)
        .await?;
    Ok(json(body))
}

/// `GET /instrument/{instrument}/specification`
pub(super) async fn specification(
    State(state): State<AppState>,
    if_none_match: IfNoneMatch,
    call: Authed<Staff, InstrumentName>,
) -> HandlerResult {
    let found = state
        .cached
        .column(CachedColumn::Specification, &call.input)
        .await?;
    Ok(if_none_match.respond(found, CacheScope::Private(call.caller.caller())))
}

/// `PUT /instrument/{instrument}/specification`: answers with what was sent, in its order.
pub(super) async fn update_specification(
    State(state): State<AppState>,
    call: Authed<Staff, InstrumentName, Json>,
) -> HandlerResult {
    let body = render(&call.body.0);
    let text = String::from_utf8_lossy(&body).into_owned();
    state
        .cached
        .set_column(CachedColumn::Specification, call.input, text)
        .await?;
    Ok(json(body))
}

/// `{"latest_run": "…"}`; further fields may be there, as strings.
pub(super) struct LatestRun(String);

impl FromBody for LatestRun {
    fn parse(body: &RawBody, errors: &mut ValidationErrors) -> Option<Self> {
        let fields = Fields::of(body, errors)?;
        fields.all_strings(errors);
        fields.string("latest_run", errors).map(Self)
    }
}
