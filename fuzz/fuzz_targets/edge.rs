//! Whole requests: paths, queries, headers, tokens and bodies. No status but those of the contract,
//! and no refusal above 16 KiB.
#![no_main]

use std::sync::LazyLock;

use arbitrary::Arbitrary;
use axum::body::Body;
use fia_api::app::Edge;
use fia_fuzz::{API_KEY, RUNTIME, edge};
use http::{HeaderName, HeaderValue, Method, Request};
use http_body_util::BodyExt as _;
use libfuzzer_sys::fuzz_target;

static EDGE: LazyLock<Edge> = LazyLock::new(edge);
/// The most bytes of a refusal.
const MAX_REFUSAL: usize = 16 * 1024;

const PATHS: [&str; 22] = [
    "/healthz",
    "/ready",
    "/openapi.json",
    "/docs/index.css",
    "/jobs",
    "/jobs/count",
    "/jobs/runners",
    "/instrument/MARI/jobs",
    "/instrument/MARI/jobs/count",
    "/instrument/MARI/latest-run",
    "/instrument/MARI/specification",
    "/job/1",
    "/job/1/resubmit",
    "/job/rerun",
    "/job/simple",
    "/job/1/filename/a.nxs",
    "/job/download-zip",
    "/find_file/instrument/MARI/experiment_number/1",
    "/extras/",
    "/extras/mari/a.txt",
    "/live-data/MARI/script",
    "/live-data/MARI/logs",
];
const METHODS: [Method; 7] = [
    Method::GET,
    Method::PUT,
    Method::POST,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
    Method::HEAD,
];
const NAMES: [&str; 8] = [
    "content-type",
    "range",
    "if-none-match",
    "accept-encoding",
    "origin",
    "x-request-id",
    "traceparent",
    "x-forwarded-for",
];

#[derive(Debug, Arbitrary)]
struct Sent<'a> {
    path: u8,
    /// Appended to the path.
    rest: &'a str,
    query: &'a str,
    method: u8,
    headers: Vec<(u8, &'a [u8])>,
    is_json: bool,
    caller: u8,
    token: &'a [u8],
    body: &'a [u8],
}

fuzz_target!(|sent: Sent<'_>| {
    let Some(request) = request(&sent) else {
        return;
    };
    RUNTIME.block_on(async {
        let response = EDGE.handle(request).await;
        let status = response.status().as_u16();
        // 503: the dependencies refuse connections. 424: GitHub does.
        let is_known = matches!(status, 200..=204 | 206 | 304 | 307 | 400..=431 | 503);
        assert!(is_known, "status {status}");
        if status >= 400 {
            let body = response.into_body().collect().await.expect("a whole body");
            assert!(body.to_bytes().len() <= MAX_REFUSAL, "a long refusal");
        }
    });
});

fn request(sent: &Sent<'_>) -> Option<Request<Body>> {
    let path = PATHS[usize::from(sent.path) % PATHS.len()];
    let method = METHODS[usize::from(sent.method) % METHODS.len()].clone();
    let uri = format!("{path}{}?{}", sent.rest, sent.query);
    let mut builder = Request::builder().method(method).uri(uri);
    for (name, value) in &sent.headers {
        let name = NAMES[usize::from(*name) % NAMES.len()];
        let value = HeaderValue::from_bytes(value).ok()?;
        builder = builder.header(HeaderName::from_static(name), value);
    }
    let authorization = match sent.caller % 3 {
        0 => None,
        1 => HeaderValue::try_from(format!("Bearer {API_KEY}")).ok(),
        _ => HeaderValue::from_bytes(&[b"Bearer ", sent.token].concat()).ok(),
    };
    if let Some(authorization) = authorization {
        builder = builder.header("authorization", authorization);
    }
    if sent.is_json {
        builder = builder.header("content-type", "application/json");
    }
    builder.body(Body::from(sent.body.to_vec())).ok()
}
