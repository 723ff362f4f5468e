//! The responses of failed requests: status, headers, body.

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_RANGE, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::error::ApiError;
use crate::model::{MissingFiles, json};

const MALFORMED_JOB: &str = "The job request was malformed and could not be processed";
const NO_SCRIPT: &str = "The script could not be found locally or on remote, it is likely the \
     script does not exist";
const NO_TRANSFORM: &str = "There is no transform for the scripts of this instrument";
const BAD_CHARACTERS: &str = "The given request contains bad characters";
const BAD_FILTER: &str = "\"A bad request was made, bad filter provided\"";
/// The trailing space is inherited from the older server.
const GITHUB: &str = "\"Github API request failed \"";
const UNREADABLE: &str = "There was an error parsing the body";
const NO_FOLDER: &str = "Record missing experiment, instrument, or user number";

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let detail = |status, text| json_member(status, "detail", text);
        let message = |status, text| json_member(status, "message", text);
        match self {
            Self::NoRoute => detail(StatusCode::NOT_FOUND, "Not Found"),
            Self::Method => detail(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"),
            Self::Missing => message(StatusCode::NOT_FOUND, "Resource not found"),
            Self::Unauthenticated => unauthenticated(),
            Self::Forbidden => message(StatusCode::FORBIDDEN, "Forbidden"),
            Self::Invalid(text) => invalid(&text),
            Self::MalformedJob => message(StatusCode::BAD_REQUEST, MALFORMED_JOB),
            Self::NoScript => message(StatusCode::NOT_FOUND, NO_SCRIPT),
            Self::NoTransform => message(StatusCode::NOT_FOUND, NO_TRANSFORM),
            Self::BadCharacters => message(StatusCode::BAD_REQUEST, BAD_CHARACTERS),
            Self::BadFilter => json_response(StatusCode::BAD_REQUEST, BAD_FILTER),
            Self::GitHub => json_response(StatusCode::FAILED_DEPENDENCY, GITHUB),
            Self::UnreadableBody => detail(StatusCode::BAD_REQUEST, UNREADABLE),
            Self::TooLarge => detail(StatusCode::PAYLOAD_TOO_LARGE, "Request body too large"),
            Self::InvalidMultipart => detail(StatusCode::BAD_REQUEST, "Invalid multipart data."),
            Self::NoBoundary => detail(StatusCode::BAD_REQUEST, "Missing boundary in multipart."),
            Self::TooMuch => detail(StatusCode::PAYLOAD_TOO_LARGE, "Too much for one archive"),
            Self::NoneFound(missing) => none_found(&missing),
            Self::NoFolder => message(StatusCode::NOT_FOUND, NO_FOLDER),
            Self::MalformedRange => text(StatusCode::BAD_REQUEST, "Malformed range header."),
            Self::UnsatisfiableRange(size) => unsatisfiable(size),
            Self::NoSpace => detail(StatusCode::INSUFFICIENT_STORAGE, "No space left"),
            Self::TooMany => retry_later(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests"),
            Self::TooSlow => detail(StatusCode::REQUEST_TIMEOUT, "Request body incomplete"),
            Self::Unavailable => {
                retry_later(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable")
            }
            Self::Internal => text(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
        }
    }
}

/// `{"<key>":"<text>"}`.
fn json_member(status: StatusCode, key: &str, text: &str) -> Response {
    json_response(status, format!(r#"{{"{key}":"{text}"}}"#))
}

fn json_response(status: StatusCode, body: impl Into<axum::body::Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

fn text(status: StatusCode, text: &'static str) -> Response {
    let plain = [(CONTENT_TYPE, "text/plain; charset=utf-8")];
    (status, plain, text).into_response()
}

fn unauthenticated() -> Response {
    let mut response = json_member(StatusCode::UNAUTHORIZED, "detail", "Not authenticated");
    let scheme = HeaderValue::from_static("Bearer");
    response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
    response
}

fn invalid(text: &str) -> Response {
    let text = json::render(&text);
    let mut body = br#"{"status_code":10422,"message":"#.to_vec();
    body.extend_from_slice(&text);
    body.push(b'}');
    json_response(StatusCode::UNPROCESSABLE_ENTITY, body)
}

fn retry_later(status: StatusCode, text: &str) -> Response {
    let mut response = json_member(status, "detail", text);
    let seconds = HeaderValue::from_static("1");
    response.headers_mut().insert(RETRY_AFTER, seconds);
    response
}

fn unsatisfiable(size: u64) -> Response {
    let range = [(CONTENT_RANGE, format!("bytes */{size}"))];
    (StatusCode::RANGE_NOT_SATISFIABLE, range).into_response()
}

fn none_found(missing: &MissingFiles) -> Response {
    let body = json::render(&serde_json::json!({
        "detail": "None of the requested files could be found.",
        "missing_files_count": missing.0.len(),
        "missing_files": missing.0,
    }));
    let mut response = json_response(StatusCode::NOT_FOUND, body);
    add_missing_file_headers(response.headers_mut(), missing);
    response
}

/// Adds the headers that name the files missing from an archive.
pub fn add_missing_file_headers(headers: &mut HeaderMap, missing: &MissingFiles) {
    headers.insert("x-missing-files-count", missing.0.len().into());
    // The names are percent-encoded, so this cannot fail.
    if let Ok(names) = HeaderValue::try_from(missing.header()) {
        headers.insert("x-missing-files", names);
    }
}
