//! Every way in which a request can fail, one variant for each body on the wire.

mod body;

use crate::cached::CacheError;
use crate::files::FileError;
use crate::model::{BadFilter, MissingFiles};
use crate::scripts::{BadInput, ScriptError};
use crate::store::StoreError;
use crate::streams::StreamError;
use crate::upstream::UpstreamError;

pub use body::add_missing_file_headers;

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
    /// A job that has no run cannot be done again.
    #[error("malformed job request")]
    MalformedJob,
    /// The instrument has no script on GitHub.
    #[error("script missing")]
    NoScript,
    /// Nothing is known of how the instrument's script is made ready for a job.
    #[error("transform missing")]
    NoTransform,
    /// An instrument's name that could lead out of the folder of scripts.
    #[error("bad characters")]
    BadCharacters,
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
    NoBoundary,
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
                tracing::warn!(%error, "a live log cannot be served");
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
        tracing::warn!(%error, "the auth service cannot be asked about a token");
        Self::Unavailable
    }
}
