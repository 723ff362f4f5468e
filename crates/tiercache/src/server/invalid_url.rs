//! The error of an invalid URL.

/// The URL of the shared level is invalid. The text names the part and gives the reason, without
/// values of the URL, which may contain a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid Valkey URL: {part}: {reason}")]
pub struct InvalidUrl {
    pub(super) part: String,
    reason: String,
}

impl InvalidUrl {
    pub(super) fn new(part: impl Into<String>, reason: impl Into<String>) -> Self {
        let (part, reason) = (part.into(), reason.into());
        Self { part, reason }
    }
}
