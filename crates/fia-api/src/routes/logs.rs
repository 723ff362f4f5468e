//! Log streams of live-data processors, as server-sent events.

use std::borrow::Cow;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, StatusCode};

use crate::auth::Caller;
use crate::extract::{Authed, FromInput, Input, Query, ValidationErrors};
use crate::routes::HandlerResult;
use crate::state::AppState;
use crate::streams::{Request, Since};

const HEADERS: [(HeaderName, &str); 4] = [
    (CONTENT_TYPE, "text/event-stream; charset=utf-8"),
    (CACHE_CONTROL, "no-cache"),
    (CONNECTION, "keep-alive"),
    (HeaderName::from_static("x-accel-buffering"), "no"),
];

/// `GET /live-data/{instrument}/logs`: the instrument is not upper-cased, as in the key of the
/// stream. A browser that reconnects sends its position in `Last-Event-ID`.
pub(super) async fn stream(
    State(state): State<AppState>,
    headers: HeaderMap,
    call: Authed<Caller, Log>,
) -> HandlerResult {
    let Log { instrument, since } = call.input;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let request = Request {
        instrument,
        since: last.and_then(Since::parse).unwrap_or(since),
        user_number: match call.caller {
            Caller::ApiKey => None,
            Caller::Staff { user_number } | Caller::User { user_number } => Some(user_number),
        },
        until: state.authenticator.token_expiry(&headers),
    };
    let events = state.logs.view(request)?;
    let response: Response = (StatusCode::OK, HEADERS, Body::from_stream(events)).into_response();
    Ok(response)
}

/// The path parameter `{instrument}` and the query parameter `since`.
pub(super) struct Log {
    instrument: String,
    since: Since,
}

impl FromInput for Log {
    fn parse(input: &Input, errors: &mut ValidationErrors) -> Option<Self> {
        let since = Query::of(input, errors).text("since");
        let since = Since::parse(&since.unwrap_or(Cow::Borrowed("0")));
        if since.is_none() {
            let message = "Input should be the id of an entry, or $";
            errors.add("value_error", &["query", "since"], message);
        }
        Some(Self {
            instrument: input.path("instrument").to_owned(),
            since: since?,
        })
    }
}
