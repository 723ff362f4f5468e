//! Response bodies in their final form.

use bytes::Bytes;
use http::HeaderValue;
use sha2::{Digest, Sha256};
use std::time::Duration;
use tiercache::LocalPolicy;

/// A JSON response body with its entity tag; cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    bytes: Bytes,
    etag: Option<HeaderValue>,
}

impl Body {
    /// The largest body that is cached and has an entity tag, in bytes.
    pub const MAX_CACHED: usize = 1024 * 1024;

    /// A body with its entity tag, unless it is too large.
    #[must_use]
    pub fn new(bytes: Bytes) -> Self {
        let etag = (bytes.len() <= Self::MAX_CACHED)
            .then(|| entity_tag(&bytes))
            .flatten();
        Self { bytes, etag }
    }

    /// The bytes of the body.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Its strong entity tag.
    #[must_use]
    pub fn etag(&self) -> Option<&HeaderValue> {
        self.etag.as_ref()
    }

    pub(super) fn is_cacheable(&self) -> bool {
        self.etag.is_some()
    }

    /// The local policy of bodies.
    pub(super) fn policy(max_stale: Duration) -> LocalPolicy<Self> {
        LocalPolicy {
            // The tag, the handles and the overhead of the allocator.
            bytes: |body| body.bytes.len() + 128,
            max_stale,
            same: None,
        }
    }

    /// As [`policy`](Self::policy), for values of which every change is announced, so that local
    /// hits can be sampled against the database.
    pub(super) fn policy_announced(max_stale: Duration) -> LocalPolicy<Self> {
        LocalPolicy {
            same: Some(|one, other| one.bytes == other.bytes),
            ..Self::policy(max_stale)
        }
    }
}

/// The first 128 bits of the body's SHA-256, in quotation marks.
fn entity_tag(bytes: &Bytes) -> Option<HeaderValue> {
    let hash = Sha256::digest(bytes);
    let half: [u8; 16] = hash.first_chunk().copied()?;
    HeaderValue::try_from(format!("\"{:032x}\"", u128::from_be_bytes(half))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_bodies_have_equal_tags_and_large_ones_none() {
        let body = |text: &'static str| Body::new(Bytes::from_static(text.as_bytes()));
        assert_eq!(
            body("null").etag().unwrap(),
            "\"74234e98afe7498fb5daf1f36ac2d78a\""
        );
        assert_ne!(body("1").etag(), body("2").etag());
        let large = Body::new(vec![b' '; Body::MAX_CACHED + 1].into());
        assert!(large.etag().is_none() && !large.is_cacheable());
        assert!(Body::new(vec![b' '; Body::MAX_CACHED].into()).is_cacheable());
    }
}
