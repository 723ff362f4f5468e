//! A form with files, read while it arrives.

use std::io;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use multer::{Constraints, Field, Multipart, SizeLimit};
use tokio::time::{Instant, timeout_at};

use crate::error::ApiError;
use crate::extract::ValidationErrors;

/// How long a body may stand still.
const STANDSTILL: Duration = Duration::from_secs(9);
/// How long it may take in all.
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// What a form may be larger than its file.
const FRAMING: u64 = 64 * 1024;

/// A form in the body of a request.
pub struct Form(Multipart<'static>);

/// One file of a form.
pub struct FormFile(Field<'static>);

impl Form {
    /// Prepares to read a form that holds a file of `limit` bytes at most.
    ///
    /// # Errors
    /// [`ApiError::TooLarge`] where it says that it is; [`ApiError::Invalid`] where the body is
    /// no form at all.
    pub fn of(headers: &HeaderMap, body: Body, limit: u64) -> Result<Self, ApiError> {
        let limit = limit.saturating_add(FRAMING);
        let announced = headers.get(CONTENT_LENGTH);
        let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|length| length > limit) {
            return Err(ApiError::TooLarge);
        }
        let kind = headers
            .get(CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok())
            .unwrap_or_default();
        let boundary = multer::parse_boundary(kind).map_err(|error| match error {
            multer::Error::NoBoundary => ApiError::NoBoundary,
            _ => missing_file(),
        })?;
        let limits = Constraints::new().size_limit(SizeLimit::new().whole_stream(limit));
        Ok(Self(Multipart::with_constraints(
            moving(body),
            boundary,
            limits,
        )))
    }

    /// The next file in a field of this name; other fields are passed over.
    ///
    /// # Errors
    /// When the form is broken off, too large or no form.
    pub async fn next_file(&mut self, name: &str) -> Result<Option<FormFile>, ApiError> {
        while let Some(field) = self.0.next_field().await.map_err(cause)? {
            if field.name() == Some(name) && field.file_name().is_some() {
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

/// What is wrong with a request that has no field `file` with a file in it.
#[must_use]
pub fn missing_file() -> ApiError {
    let mut errors = ValidationErrors::default();
    errors.add("missing", &["body", "file"], "Field required");
    errors.into_error()
}

/// A body, given up when it stands still or takes too long.
fn moving(body: Body) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let end = Instant::now() + LONGEST;
    stream::unfold(body.into_data_stream(), move |mut body| async move {
        let limit = end.min(Instant::now() + STANDSTILL);
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
                // The client went away or broke the framing: nobody will read this.
                _ => ApiError::UnreadableBody,
            }
        }
        _ => ApiError::InvalidMultipart,
    }
}
