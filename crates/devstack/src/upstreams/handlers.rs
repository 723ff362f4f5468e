//! Request handlers of the stand-ins.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{self, Request};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, ETAG, HOST, IF_NONE_MATCH, LINK};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::state::State;
use crate::tokens::API_KEY;

/// Bytes.
const MAX_BODY: usize = 1024 * 1024;
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// GitHub's default and maximum page size.
const PER_PAGE: usize = 30;
const PER_PAGE_MAX: usize = 100;

pub(super) fn router(state: Arc<Mutex<State>>) -> Router {
    Router::new().fallback(handle).with_state(state)
}

async fn handle(
    extract::State(state): extract::State<Arc<Mutex<State>>>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, MAX_BODY).await.unwrap_or_default();
    let path = parts.uri.path();
    if let Some(response) = control(&state, &parts.method, path, &body) {
        return response;
    }
    let (delay, failure) = record_call(&state, path, &parts.headers);
    if let Some(delay) = delay {
        tokio::time::sleep(delay).await;
    }
    if let Some(status) = failure {
        return json(status, &json!({"detail": "down"}));
    }
    // Locked after the delay, so that changes made during it are visible.
    let state = state.lock();
    match parts.method {
        Method::GET => get(&state, &parts.uri, &parts.headers),
        Method::POST if path == "/verify" => verify(&state, &body),
        _ => json(StatusCode::NOT_FOUND, &json!({})),
    }
}

/// Handles the control requests (`/_calls`, `/_down`), which are neither counted nor delayed.
fn control(state: &Mutex<State>, method: &Method, path: &str, body: &Bytes) -> Option<Response> {
    let mut state = state.lock();
    match (method, path) {
        (&Method::GET, "/_calls") => return Some(json(StatusCode::OK, &json!(state.calls))),
        (&Method::DELETE, "/_calls") => state.calls.clear(),
        (&Method::PUT, "/_down") => {
            let request: Option<Value> = serde_json::from_slice(body).ok();
            let seconds = request.and_then(|request| request["seconds"].as_f64());
            let Some(down) = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            else {
                return Some(json(
                    StatusCode::BAD_REQUEST,
                    &json!({"detail": "expected {\"seconds\": S}"}),
                ));
            };
            state.down_until = Instant::now().checked_add(down);
        }
        _ => return None,
    }
    Some(json(StatusCode::OK, &json!("ok")))
}

/// Counts a request; returns the delay and the failure configured for its path.
fn record_call(
    state: &Mutex<State>,
    path: &str,
    headers: &HeaderMap,
) -> (Option<Duration>, Option<StatusCode>) {
    let mut state = state.lock();
    *state.calls.entry(path.to_owned()).or_default() += 1;
    match headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
    {
        Some(value) => state
            .authorizations
            .insert(path.to_owned(), value.to_owned()),
        None => state.authorizations.remove(path),
    };
    let down = state
        .down_until
        .is_some_and(|until| Instant::now() < until)
        .then_some(StatusCode::SERVICE_UNAVAILABLE);
    let failure = state
        .failures
        .get(path)
        .and_then(|status| StatusCode::from_u16(status).ok());
    (state.delays.get(path), down.or(failure))
}

fn verify(state: &State, body: &Bytes) -> Response {
    let request: Option<Value> = serde_json::from_slice(body).ok();
    match request
        .as_ref()
        .and_then(|request| request["token"].as_str())
    {
        Some(token) if state.valid_tokens.contains(token) => json(StatusCode::OK, &json!("ok")),
        _ => json(StatusCode::FORBIDDEN, &json!({"message": "Forbidden"})),
    }
}

fn get(state: &State, uri: &Uri, headers: &HeaderMap) -> Response {
    let path: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
    match path[..] {
        ["experiments"] => experiments(state, uri, headers),
        [
            _org,
            "autoreduction-scripts",
            _reference,
            instrument,
            "reduce.py",
        ] => match state.scripts.get(instrument) {
            Some(script) => tagged(script.clone(), TEXT, headers),
            None => respond(
                StatusCode::NOT_FOUND,
                "text/plain",
                &[],
                "404: Not Found".into(),
            ),
        },
        ["repos", .., "HEAD"] => tagged(
            json!({"sha": state.commit}).to_string().into(),
            JSON,
            headers,
        ),
        ["orgs", .., "versions"] => packages(state, uri, headers),
        _ => json(StatusCode::NOT_FOUND, &json!({})),
    }
}

fn experiments(state: &State, uri: &Uri, headers: &HeaderMap) -> Response {
    if headers
        .get(AUTHORIZATION)
        .is_none_or(|value| value != &format!("Bearer {API_KEY}"))
    {
        return json(StatusCode::FORBIDDEN, &json!({"detail": "Forbidden"}));
    }
    let numbers = query(uri, "user_number").and_then(|user| state.experiments.get(user));
    json(
        StatusCode::OK,
        &json!(numbers.map_or(&[][..], Vec::as_slice)),
    )
}

/// One page of package versions; like GitHub, with a `Link` header to the next page.
fn packages(state: &State, uri: &Uri, headers: &HeaderMap) -> Response {
    let number = |name: &str| {
        query(uri, name)
            .and_then(|value| value.parse::<usize>().ok())
            .filter(|n| *n > 0)
    };
    let page = number("page").unwrap_or(1);
    let per_page = number("per_page").map_or(PER_PAGE, |n| n.min(PER_PAGE_MAX));
    let from = (page - 1)
        .saturating_mul(per_page)
        .min(state.packages.len());
    let to = from.saturating_add(per_page).min(state.packages.len());
    let body = json!(state.packages[from..to]).to_string();
    if to == state.packages.len() {
        return respond(StatusCode::OK, JSON, &[], body.into());
    }
    let host = headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    let next = format!(
        "<http://{host}{}?page={}&per_page={per_page}>; rel=\"next\"",
        uri.path(),
        page + 1
    );
    respond(StatusCode::OK, JSON, &[(LINK.as_str(), &next)], body.into())
}

/// A body with its `ETag`, or 304 if `If-None-Match` contains that.
fn tagged(body: Vec<u8>, content_type: &str, headers: &HeaderMap) -> Response {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    let tag = format!("\"{:016x}\"", hasher.finish());
    let if_none_match = headers
        .get(IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let headers = [(ETAG.as_str(), tag.as_str())];
    if if_none_match
        .split(',')
        .any(|candidate| candidate.trim().trim_start_matches("W/") == tag)
    {
        return respond(StatusCode::NOT_MODIFIED, content_type, &headers, Vec::new());
    }
    respond(StatusCode::OK, content_type, &headers, body)
}

fn query<'a>(uri: &'a Uri, name: &str) -> Option<&'a str> {
    let pairs = uri.query().unwrap_or_default().split('&');
    pairs
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

fn json(status: StatusCode, body: &Value) -> Response {
    respond(status, JSON, &[], body.to_string().into())
}

fn respond(
    status: StatusCode,
    content_type: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Response {
    let mut response = Response::builder()
        .status(status)
        .header(CONTENT_TYPE, content_type);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    // Only an invalid header fails here; all headers are set by this module.
    response.body(Body::from(body)).unwrap_or_default()
}
