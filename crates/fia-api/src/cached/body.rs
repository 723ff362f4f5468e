//! Finished answers.

use bytes::Bytes;
use http::HeaderValue;
use sha2::{Digest, Sha256};
use std::time::Duration;
use tiercache::LocalPolicy;

/// A JSON body that is ready to be sent, with the name of its content; cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    bytes: Bytes,
    etag: Option<HeaderValue>,
}

impl Body {
    /// The largest body that is kept and named, in bytes.
    pub const MAX_KEPT: usize = 1024 * 1024;

    /// Names a body, unless it is too large.
    #[must_use]
    pub fn new(bytes: Bytes) -> Self {
        let etag = (bytes.len() <= Self::MAX_KEPT)
            .then(|| name(&bytes))
            .flatten();
        Self { bytes, etag }
    }

    /// The body.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Its strong entity tag.
    #[must_use]
    pub fn etag(&self) -> Option<&HeaderValue> {
        self.etag.as_ref()
    }

    pub(super) fn is_kept(&self) -> bool {
        self.etag.is_some()
    }

    /// How such bodies are kept in memory.
    pub(super) fn keep(max_stale: Duration) -> LocalPolicy<Self> {
        LocalPolicy {
            // The tag, the handles, and what the allocator adds.
            bytes: |body| body.bytes.len() + 128,
            max_stale,
            same: None,
        }
    }

    /// As [`keep`](Self::keep), where every change is announced, so that what memory has can be
    /// held against the database.
    pub(super) fn keep_announced(max_stale: Duration) -> LocalPolicy<Self> {
        LocalPolicy {
            same: Some(|one, other| one.bytes == other.bytes),
            ..Self::keep(max_stale)
        }
    }
}

/// 128 bits of a hash, in quotation marks.
fn name(bytes: &Bytes) -> Option<HeaderValue> {
    let hash = Sha256::digest(bytes);
    let half: [u8; 16] = hash.first_chunk().copied()?;
    HeaderValue::try_from(format!("\"{:032x}\"", u128::from_be_bytes(half))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_bodies_have_equal_names_and_large_ones_none() {
        let body = |text: &'static str| Body::new(Bytes::from_static(text.as_bytes()));
        assert_eq!(
            body("null").etag().unwrap(),
            "\"74234e98afe7498fb5daf1f36ac2d78a\""
        );
        assert_ne!(body("1").etag(), body("2").etag());
        let large = Body::new(vec![b' '; Body::MAX_KEPT + 1].into());
        assert!(large.etag().is_none() && !large.is_kept());
        assert!(Body::new(vec![b' '; Body::MAX_KEPT].into()).is_kept());
    }
}
