//! Compression of responses that are not cached reads (those keep their compressed forms with the
//! cached body): single jobs, uncached lists, the documentation.
//!
//! Only complete text bodies are compressed. Streams (live logs, long lists), archives, downloads
//! and ranges stay as they are.

use axum::body::{Body, HttpBody as _, to_bytes};
use axum::response::Response;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, VARY};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::model::encoding::{Encoding, MIN_COMPRESSED};

/// The largest body that is compressed, in bytes.
const MAX_COMPRESSED: usize = 4 * 1024 * 1024;
/// The largest body that is compressed on the thread of its connection, in bytes: well under a
/// millisecond.
const MAX_INLINE: usize = 64 * 1024;

/// Compresses the body of a response where the request accepts it and it pays.
pub(super) async fn compress(encoding: Option<Encoding>, response: Response) -> Response {
    if !is_compressible(&response) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    parts
        .headers
        .append(VARY, HeaderValue::from(ACCEPT_ENCODING));
    let Some(encoding) = encoding else {
        return Response::from_parts(parts, body);
    };
    // Complete and within the limit: this neither waits nor fails.
    let Ok(bytes) = to_bytes(body, MAX_COMPRESSED).await else {
        return Response::from_parts(parts, Body::empty());
    };
    let encoding = encoding.for_size(bytes.len());
    let compressed = if bytes.len() <= MAX_INLINE {
        encoding.compress(&bytes)
    } else {
        let bytes = bytes.clone();
        let work = tokio::task::spawn_blocking(move || encoding.compress(&bytes));
        work.await.ok().flatten()
    };
    let Some(compressed) = compressed else {
        return Response::from_parts(parts, Body::from(bytes));
    };
    parts.headers.insert(CONTENT_ENCODING, encoding.header());
    parts.headers.remove(CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(compressed))
}

fn is_compressible(response: &Response) -> bool {
    let headers = response.headers();
    let size = response.body().size_hint().exact();
    response.status() == StatusCode::OK
        && size.is_some_and(|size| (MIN_COMPRESSED as u64..=MAX_COMPRESSED as u64).contains(&size))
        && !headers.contains_key(CONTENT_ENCODING)
        // A cached read: its body has no compressed form that pays.
        && !headers.contains_key(ETAG)
        && is_text(headers)
}

fn is_text(headers: &HeaderMap) -> bool {
    let Some(media_type) = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    matches!(
        essence,
        "application/json"
            | "application/javascript"
            | "text/javascript"
            | "text/css"
            | "text/html"
            | "image/svg+xml"
    )
}
