//! Multipart forms with files, parsed while they are received.

use std::io;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use multer::{Constraints, Field, Multipart, SizeLimit};
use tokio::time::{Instant, timeout_at};

use crate::error::ApiError;
use crate::extract::ValidationErrors;
use crate::extract::parameters::Parameterised;

/// The idle timeout between two chunks of a body.
const IDLE_TIMEOUT: Duration = Duration::from_secs(9);
/// The timeout of a whole body.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// The most bytes of a form beside its file.
const FRAMING: u64 = 64 * 1024;

/// A multipart form in the body of a request.
pub struct Form(Multipart<'static>);

/// One file of a form.
pub struct FormFile(Field<'static>);

impl Form {
    /// Starts to parse a form whose file has at most `limit` bytes.
    ///
    /// # Errors
    /// [`ApiError::TooLarge`] if `Content-Length` exceeds the limit; [`ApiError::NoBoundary`] and
    /// [`ApiError::Invalid`] if the content type is not that of a form.
    pub fn of(headers: &HeaderMap, body: Body, limit: u64) -> Result<Self, ApiError> {
        let limit = limit.saturating_add(FRAMING);
        let length = headers.get(CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > limit) {
            return Err(ApiError::TooLarge);
        }
        let boundary = boundary(headers)?;
        let limits = Constraints::new().size_limit(SizeLimit::new().whole_stream(limit));
        Ok(Self(Multipart::with_constraints(
            with_timeouts(body),
            boundary,
            limits,
        )))
    }

    /// The next file in a field of this name; other fields are skipped.
    ///
    /// # Errors
    /// If the form is incomplete, too large, too slow or malformed.
    pub async fn next_file(&mut self, name: &str) -> Result<Option<FormFile>, ApiError> {
        while let Some(field) = self.0.next_field().await.map_err(cause)? {
            if is_file(&field, name) {
                return Ok(Some(FormFile(field)));
            }
        }
        Ok(None)
    }
}

impl FormFile {
    /// The next bytes of the file; `None` at its end.
    ///
    /// # Errors
    /// As [`Form::next_file`].
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ApiError> {
        self.0.chunk().await.map_err(cause)
    }
}

/// The boundary of a multipart form.
fn boundary(headers: &HeaderMap) -> Result<String, ApiError> {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let kind = Parameterised::parse(kind.unwrap_or_default());
    if kind.value != "multipart/form-data" {
        return Err(missing_file());
    }
    let boundary = kind.get("boundary").ok_or(ApiError::NoBoundary)?;
    // Beyond ASCII it could not be found in the body, whose bytes are compared.
    if boundary.is_empty() || !boundary.is_ascii() {
        return Err(ApiError::InvalidMultipart);
    }
    Ok(boundary.to_owned())
}

/// Whether a field of a form is a file and has this name.
fn is_file(field: &Field<'_>, name: &str) -> bool {
    let disposition = field.headers().get(CONTENT_DISPOSITION);
    let disposition = disposition.map(HeaderValue::as_bytes).unwrap_or_default();
    let disposition = Parameterised::parse(disposition);
    disposition.get("name") == Some(name) && disposition.get("filename").is_some()
}

/// The error of a request without a file in the field `file`.
#[must_use]
pub fn missing_file() -> ApiError {
    let mut errors = ValidationErrors::default();
    errors.add("missing", &["body", "file"], "Field required");
    errors.into()
}

/// A body that fails when a timeout expires.
fn with_timeouts(body: Body) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let end = Instant::now() + TOTAL_TIMEOUT;
    stream::unfold(body.into_data_stream(), move |mut body| async move {
        let limit = end.min(Instant::now() + IDLE_TIMEOUT);
        let next = match timeout_at(limit, body.next()).await {
            Ok(next) => next?.map_err(io::Error::other),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        Some((next, body))
    })
}

fn cause(error: multer::Error) -> ApiError {
    match error {
        multer::Error::StreamSizeExceeded { .. } | multer::Error::FieldSizeExceeded { .. } => {
            ApiError::TooLarge
        }
        multer::Error::StreamReadFailed(error) => {
            let error = error.downcast_ref::<io::Error>().map(io::Error::kind);
            match error {
                Some(io::ErrorKind::TimedOut) => ApiError::TooSlow,
                // The client disconnected or sent an invalid frame; the response is not read.
                _ => ApiError::UnreadableBody,
            }
        }
        _ => ApiError::InvalidMultipart,
    }
}
