//! Every way in which a request can fail, one variant for each body on the wire.

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_RANGE, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::cached::CacheError;
use crate::files::FileError;
use crate::model::{BadFilter, MissingFiles, json};
use crate::store::StoreError;
use crate::streams::StreamError;
use crate::upstream::Unreachable;

/// A failed request. How each variant looks is fixed by the clients of the older server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// No such route.
    #[error("no such route")]
    NoRoute,
    /// The route exists, but not with this method.
    #[error("method not allowed")]
    Method,
    /// The record that the request names does not exist.
    #[error("record missing")]
    Missing,
    /// No usable bearer token was sent.
    #[error("no bearer token")]
    Unauthenticated,
    /// The token is not valid, or its role may not do this. Not 401: the front end renews its
    /// token on 403 only.
    #[error("forbidden")]
    Forbidden,
    /// Input of the right form with wrong values; the text says which.
    #[error("invalid: {0}")]
    Invalid(String),
    /// Filters that cannot be used.
    #[error("bad filter")]
    BadFilter,
    /// GitHub does not tell the runner images.
    #[error("GitHub unavailable")]
    GitHub,
    /// The body is not UTF-8.
    #[error("unreadable body")]
    UnreadableBody,
    /// The body is larger than allowed.
    #[error("body too large")]
    TooLarge,
    /// The body is no form of the announced kind.
    #[error("invalid multipart data")]
    InvalidMultipart,
    /// The body's header does not say what parts the form.
    #[error("no boundary")]
    MissingBoundary,
    /// More files than one archive may hold.
    #[error("too much for one archive")]
    TooMuch,
    /// None of the files that an archive was to hold is there.
    #[error("no file for the archive")]
    NoneFound(MissingFiles),
    /// The job does not say where its files are.
    #[error("no folder for the job")]
    NoFolder,
    /// The header `Range` cannot be read.
    #[error("malformed range")]
    MalformedRange,
    /// The header `Range` lies beyond the file, which has so many bytes.
    #[error("range beyond {0} bytes")]
    UnsatisfiableRange(u64),
    /// The disk is full.
    #[error("no space left")]
    NoSpace,
    /// The caller has as much under way as one caller may.
    #[error("too many requests of one caller")]
    TooMany,
    /// The body did not arrive in time.
    #[error("body did not arrive in time")]
    TooSlow,
    /// Something that this needs is away; to be tried again.
    #[error("unavailable")]
    Unavailable,
    /// A defect; its cause is in the log.
    #[error("internal error")]
    Internal,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let detail = |status, text: &str| answer(status, "detail", text);
        match self {
            Self::NoRoute => detail(StatusCode::NOT_FOUND, "Not Found"),
            Self::Method => detail(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"),
            Self::Missing => answer(StatusCode::NOT_FOUND, "message", "Resource not found"),
            Self::Unauthenticated => {
                let mut response = detail(StatusCode::UNAUTHORIZED, "Not authenticated");
                let scheme = HeaderValue::from_static("Bearer");
                response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
                response
            }
            Self::Forbidden => answer(StatusCode::FORBIDDEN, "message", "Forbidden"),
            Self::Invalid(text) => {
                let text = json::render(&text);
                let mut body = br#"{"status_code":10422,"message":"#.to_vec();
                body.extend_from_slice(&text);
                body.push(b'}');
                json_response(StatusCode::UNPROCESSABLE_ENTITY, body)
            }
            Self::BadFilter => json_response(
                StatusCode::BAD_REQUEST,
                "\"A bad request was made, bad filter provided\"",
            ),
            // The space at the end is the older server's.
            Self::GitHub => json_response(
                StatusCode::FAILED_DEPENDENCY,
                "\"Github API request failed \"",
            ),
            Self::UnreadableBody => detail(
                StatusCode::BAD_REQUEST,
                "There was an error parsing the body",
            ),
            Self::TooLarge => detail(StatusCode::PAYLOAD_TOO_LARGE, "Request body too large"),
            Self::InvalidMultipart => detail(StatusCode::BAD_REQUEST, "Invalid multipart data."),
            Self::MissingBoundary => {
                detail(StatusCode::BAD_REQUEST, "Missing boundary in multipart.")
            }
            Self::TooMuch => detail(StatusCode::PAYLOAD_TOO_LARGE, "Too much for one archive"),
            Self::NoneFound(missing) => none_found(&missing),
            Self::NoFolder => answer(
                StatusCode::NOT_FOUND,
                "message",
                "Record missing experiment, instrument, or user number",
            ),
            Self::MalformedRange => {
                (StatusCode::BAD_REQUEST, "Malformed range header.").into_response()
            }
            Self::UnsatisfiableRange(size) => (
                StatusCode::RANGE_NOT_SATISFIABLE,
                [(CONTENT_RANGE, format!("bytes */{size}"))],
            )
                .into_response(),
            Self::NoSpace => detail(StatusCode::INSUFFICIENT_STORAGE, "No space left"),
            Self::TooMany => retry_later(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests"),
            Self::TooSlow => detail(StatusCode::REQUEST_TIMEOUT, "Request body incomplete"),
            Self::Unavailable => {
                retry_later(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable")
            }
            Self::Internal => (
                StatusCode::INTERNAL_SERVER_ERROR,
                [(CONTENT_TYPE, "text/plain; charset=utf-8")],
                "Internal Server Error",
            )
                .into_response(),
        }
    }
}

/// `{"<key>":"<text>"}`.
fn answer(status: StatusCode, key: &str, text: &str) -> Response {
    json_response(status, format!(r#"{{"{key}":"{text}"}}"#))
}

fn retry_later(status: StatusCode, text: &str) -> Response {
    let mut response = answer(status, "detail", text);
    let seconds = HeaderValue::from_static("1");
    response.headers_mut().insert(RETRY_AFTER, seconds);
    response
}

fn none_found(missing: &MissingFiles) -> Response {
    let body = json::render(&serde_json::json!({
        "detail": "None of the requested files could be found.",
        "missing_files_count": missing.0.len(),
        "missing_files": missing.0,
    }));
    let mut response = json_response(StatusCode::NOT_FOUND, body);
    name_missing(response.headers_mut(), missing);
    response
}

/// Says in an answer's headers what an archive does not hold.
pub fn name_missing(headers: &mut HeaderMap, missing: &MissingFiles) {
    headers.insert("x-missing-files-count", missing.0.len().into());
    // Percent-encoded: fit for a header.
    if let Ok(names) = HeaderValue::try_from(missing.header()) {
        headers.insert("x-missing-files", names);
    }
}

fn json_response(status: StatusCode, body: impl Into<axum::body::Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

impl From<CacheError> for ApiError {
    fn from(error: CacheError) -> Self {
        match error {
            CacheError::Missing => Self::Missing,
            CacheError::Unavailable => Self::Unavailable,
            CacheError::BadFilter => Self::BadFilter,
            CacheError::GitHub => Self::GitHub,
            CacheError::Internal => Self::Internal,
        }
    }
}

impl From<BadFilter> for ApiError {
    fn from(_: BadFilter) -> Self {
        Self::BadFilter
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        CacheError::from(error).into()
    }
}

impl From<FileError> for ApiError {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Missing => Self::Missing,
            // As the older server has it: a folder that is not there is one that nobody may see.
            FileError::NoFolder | FileError::Refused => Self::Forbidden,
            FileError::TooLarge => Self::TooLarge,
            FileError::TooMuch => Self::TooMuch,
            FileError::NoSpace => {
                tracing::error!(%error, "an upload was refused");
                Self::NoSpace
            }
            FileError::CutShort | FileError::Busy | FileError::Failed(_) => {
                tracing::warn!(%error, "a request for files cannot be served");
                Self::Unavailable
            }
        }
    }
}

impl From<StreamError> for ApiError {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::TooMany => Self::TooMany,
            StreamError::Full | StreamError::NoValkey => {
                tracing::warn!(%error, "a live log cannot be served");
                Self::Unavailable
            }
        }
    }
}

impl From<Unreachable> for ApiError {
    fn from(error: Unreachable) -> Self {
        tracing::warn!(%error, "the auth service cannot be asked about a token");
        Self::Unavailable
    }
}
