//! Responses of the page, with the headers that confine it.

use axum::response::{IntoResponse as _, Response};
use http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY, VARY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

use crate::operator::assets::Asset;

/// No script, style, font, image or frame of another origin, and none within the page itself.
const POLICY: &str = "default-src 'self'; base-uri 'none'; form-action 'self'; \
    frame-ancestors 'none'; object-src 'none'";

/// The headers of every response. The referrer policy lets forms send their origin.
const HEADERS: [(HeaderName, &str); 6] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_FRAME_OPTIONS, "DENY"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "same-origin"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

/// Adds the headers of every response; nothing but assets is stored.
pub(super) fn secured(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

pub(super) fn html(status: StatusCode, page: String) -> Response {
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (VARY, "accept, cookie"),
    ];
    (status, headers, page).into_response()
}

pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    let headers = [(CONTENT_TYPE, "application/json"), (VARY, "accept, cookie")];
    match serde_json::to_string(value) {
        Ok(text) => (status, headers, text).into_response(),
        Err(error) => {
            tracing::error!(%error, "operator's page not serialised");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// A style sheet, script or font; its path contains a digest of its content, or it is small.
pub(super) fn asset(asset: &Asset, _: &HeaderMap) -> Response {
    let headers = [
        (CONTENT_TYPE, asset.media_type),
        (CACHE_CONTROL, asset.cache_control()),
    ];
    (headers, asset.content).into_response()
}

/// A redirect to a path of this page after an action. Never to a place that a client names.
pub(super) fn see_other(path: &str) -> Response {
    let location = HeaderValue::try_from(path).unwrap_or(HeaderValue::from_static("/"));
    (StatusCode::SEE_OTHER, [(LOCATION, location)]).into_response()
}

/// Whether a client prefers JSON: it accepts it, and not HTML.
pub(super) fn wants_json(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    accept
        .is_some_and(|accept| accept.contains("application/json") && !accept.contains("text/html"))
}
