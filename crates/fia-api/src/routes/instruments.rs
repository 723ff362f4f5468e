//! Specifications and latest runs of instruments, for staff and programs.

use axum::extract::State;

use crate::auth::Staff;
use crate::extract::{Authed, FromBody, Json, RawBody, ValidationErrors};
use crate::model::input::{FromObject as _, request_body};
use crate::model::json::render;
use crate::model::{CachedColumn, InstrumentName};
use crate::routes::conditional::{CacheScope, Negotiation};
use crate::routes::{HandlerResult, json};
use crate::state::AppState;

/// `GET /instrument/{instrument}/latest-run`
pub(super) async fn latest_run(
    State(state): State<AppState>,
    negotiation: Negotiation,
    call: Authed<Staff, InstrumentName>,
) -> HandlerResult {
    let scope = CacheScope::Private(call.caller.caller());
    let found = state
        .cached
        .column(CachedColumn::LatestRun, &call.input, scope.freshness())
        .await?;
    Ok(negotiation.respond(found, scope))
}

/// `PUT /instrument/{instrument}/latest-run`
pub(super) async fn update_latest_run(
    State(state): State<AppState>,
    call: Authed<Staff, InstrumentName, AllStrings>,
) -> HandlerResult {
    let AllStrings(LatestRun { latest_run: run }) = call.body;
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
    negotiation: Negotiation,
    call: Authed<Staff, InstrumentName>,
) -> HandlerResult {
    let scope = CacheScope::Private(call.caller.caller());
    let found = state
        .cached
        .column(CachedColumn::Specification, &call.input, scope.freshness())
        .await?;
    Ok(negotiation.respond(found, scope))
}

/// `PUT /instrument/{instrument}/specification`: returns the request body, in its order.
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

request_body! {
    /// A new latest run.
    pub(super) struct LatestRun {
        /// The name of its data file.
        latest_run: String,
    }
}

/// A body of type `dict[str, str]`, as the older server declares it: other fields must be strings
/// too.
pub(super) struct AllStrings(LatestRun);

impl FromBody for AllStrings {
    fn parse(body: RawBody, errors: &mut ValidationErrors) -> Option<Self> {
        let fields = body.object(errors)?;
        for (name, _) in fields.iter().filter(|(_, value)| !value.is_string()) {
            let loc = ["body", name.as_str()];
            errors.add("string_type", &loc, "Input should be a valid string");
            if errors.is_full() {
                return None;
            }
        }
        LatestRun::from_object(fields, errors).map(Self)
    }
}
