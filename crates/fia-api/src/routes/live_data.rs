//! Live data: the instruments that have it, their scripts and tracebacks.

use axum::extract::State;
use bytes::Bytes;

use crate::auth::Staff;
use crate::cached::Freshness;
use crate::extract::{Authed, Unauthenticated};
use crate::model::input::request_body;
use crate::model::{CachedColumn, InstrumentName};
use crate::routes::conditional::{CacheScope, Negotiation};
use crate::routes::{HandlerResult, json};
use crate::state::AppState;

/// `GET /live-data/instruments`
pub(super) async fn instruments(
    State(state): State<AppState>,
    negotiation: Negotiation,
) -> HandlerResult {
    let found = state.cached.live_data_instruments().await?;
    Ok(negotiation.respond(found, CacheScope::Public))
}

/// `GET /live-data/{instrument}/script`
pub(super) async fn script(
    State(state): State<AppState>,
    negotiation: Negotiation,
    Unauthenticated(instrument): Unauthenticated<InstrumentName>,
) -> HandlerResult {
    let found = state
        .cached
        .column(
            CachedColumn::LiveDataScript,
            &instrument,
            Freshness::FailSafe,
        )
        .await?;
    Ok(negotiation.respond(found, CacheScope::Public))
}

/// `PUT /live-data/{instrument}/script`
pub(super) async fn update_script(
    State(state): State<AppState>,
    call: Authed<Staff, InstrumentName, Script>,
) -> HandlerResult {
    let Script { value: script } = call.body;
    state
        .cached
        .set_column(CachedColumn::LiveDataScript, call.input, script)
        .await?;
    Ok(json(Bytes::from_static(b"\"ok\"")))
}

/// `GET /live-data/{instrument}/traceback`: the live-data processor's last traceback, from Valkey.
pub(super) async fn traceback(
    State(state): State<AppState>,
    Unauthenticated(instrument): Unauthenticated<InstrumentName>,
) -> HandlerResult {
    Ok(json(state.cached.traceback(&instrument).await))
}

request_body! {
    /// A new script.
    pub(super) struct Script {
        /// Its text.
        value: String,
    }
}
