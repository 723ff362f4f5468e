//! Failures of requests, one variant for each response body on the wire.

mod body;

use crate::cached::CacheError;
use crate::files::FileError;
use crate::model::input::ValidationErrors;
use crate::model::{BadFilter, MissingFiles};
use crate::scripts::{BadInput, ScriptError};
use crate::store::StoreError;
use crate::streams::StreamError;
use crate::upstream::UpstreamError;

pub use body::add_missing_file_headers;

/// A failed request. The responses are fixed by the clients of the older server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// The path matches no route.
    #[error("no such route")]
    NoRoute,
    /// The route does not have this method.
    #[error("method not allowed")]
    Method,
    /// The requested record does not exist.
    #[error("record missing")]
    Missing,
    /// The request has no usable bearer token.
    #[error("no bearer token")]
    Unauthenticated,
    /// The token is invalid, or its role lacks the permission. Not 401: the front end refreshes its
    /// token on 403 only.
    #[error("forbidden")]
    Forbidden,
    /// The input has invalid values, described by the text.
    #[error("invalid: {0}")]
    Invalid(String),
    /// The job has no run, so it cannot be rerun.
    #[error("malformed job request")]
    MalformedJob,
    /// The instrument has no script on GitHub.
    #[error("script missing")]
    NoScript,
    /// The instrument has no transform for its script.
    #[error("transform missing")]
    NoTransform,
    /// The instrument's name could escape the directory of scripts.
    #[error("bad characters")]
    BadCharacters,
    /// The filters are invalid.
    #[error("bad filter")]
    BadFilter,
    /// GitHub did not return the runner images.
    #[error("GitHub unavailable")]
    GitHub,
    /// The body is not UTF-8.
    #[error("unreadable body")]
    UnreadableBody,
    /// The body is larger than allowed.
    #[error("body too large")]
    TooLarge,
    /// The body is not valid multipart data.
    #[error("invalid multipart data")]
    InvalidMultipart,
    /// The content type of a multipart body has no boundary.
    #[error("no boundary")]
    NoBoundary,
    /// The archive would exceed its limits.
    #[error("too much for one archive")]
    TooMuch,
    /// None of the requested files of an archive exists.
    #[error("no file for the archive")]
    NoneFound(MissingFiles),
    /// The job lacks the numbers that its folder is derived from.
    #[error("no folder for the job")]
    NoFolder,
    /// The header `Range` is malformed.
    #[error("malformed range")]
    MalformedRange,
    /// The header `Range` is beyond the end of the file, whose size in bytes this is.
    #[error("range beyond {0} bytes")]
    UnsatisfiableRange(u64),
    /// The disk is full.
    #[error("no space left")]
    NoSpace,
    /// The caller has reached its limit of concurrent requests.
    #[error("too many requests of one caller")]
    TooMany,
    /// Receiving the body timed out.
    #[error("body did not arrive in time")]
    TooSlow,
    /// A dependency is unavailable; clients may retry.
    #[error("unavailable")]
    Unavailable,
    /// A defect, whose cause is logged.
    #[error("internal error")]
    Internal,
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

impl From<ValidationErrors> for ApiError {
    fn from(errors: ValidationErrors) -> Self {
        Self::Invalid(errors.to_string())
    }
}

impl From<BadFilter> for ApiError {
    fn from(error: BadFilter) -> Self {
        // The body is fixed by the older server and names no reason.
        tracing::info!(reason = %error, "filters rejected");
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
            // As in the older server, a missing folder is 403.
            FileError::NoFolder | FileError::Refused => Self::Forbidden,
            FileError::TooLarge => Self::TooLarge,
            FileError::TooMuch => Self::TooMuch,
            FileError::NoSpace => {
                tracing::error!(%error, "disk full: upload rejected");
                Self::NoSpace
            }
            FileError::CutShort | FileError::Busy | FileError::Failed(_) => {
                tracing::warn!(%error, "file request failed");
                Self::Unavailable
            }
        }
    }
}

impl From<ScriptError> for ApiError {
    fn from(error: ScriptError) -> Self {
        match error {
            ScriptError::Missing => Self::NoScript,
            ScriptError::Unavailable => Self::Unavailable,
        }
    }
}

impl From<StreamError> for ApiError {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::TooMany => Self::TooMany,
            StreamError::Full | StreamError::NoValkey => {
                tracing::warn!(%error, "log stream rejected");
                Self::Unavailable
            }
        }
    }
}

impl From<BadInput> for ApiError {
    fn from(error: BadInput) -> Self {
        Self::Invalid(format!(
            "the instrument's script cannot be made: additional_values: {error}"
        ))
    }
}

impl From<UpstreamError> for ApiError {
    fn from(error: UpstreamError) -> Self {
        tracing::warn!(%error, "token verification failed: auth service unavailable");
        Self::Unavailable
    }
}
