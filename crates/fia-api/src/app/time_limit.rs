//! The time limits of requests.

use std::time::Duration;

use axum::extract::Request;
use http::header::CONTENT_TYPE;

use crate::routes;

/// The time limit until a response begins. The gateway in front gives up after 15 s.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(14);
/// The same for a request that is held during an outage: its caller gives up after 30 s.
const HELD_TIMEOUT: Duration = Duration::from_secs(29);
/// The same for an upload, whose response begins when the file is stored.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(600);
/// The beginning of the media type of an upload.
const MULTIPART: &[u8] = b"multipart/";

/// The time limit until the response to a request begins.
pub(super) fn time_limit(request: &Request) -> Duration {
    if is_upload(request) {
        UPLOAD_TIMEOUT
    } else if routes::is_held(request.uri().path()) {
        HELD_TIMEOUT
    } else {
        RESPONSE_TIMEOUT
    }
}

fn is_upload(request: &Request) -> bool {
    let media_type = request.headers().get(CONTENT_TYPE);
    let start = media_type.and_then(|media_type| media_type.as_bytes().get(..MULTIPART.len()));
    start.is_some_and(|start| start.eq_ignore_ascii_case(MULTIPART))
}
