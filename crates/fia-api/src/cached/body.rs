//! Response bodies in their final form.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderValue;
use sha2::{Digest, Sha256};

use crate::model::encoding::{Encoding, MIN_COMPRESSED};

/// A JSON response body with its entity tag; cheap to clone.
#[derive(Debug, Clone)]
pub struct Body {
    bytes: Bytes,
    etag: Option<HeaderValue>,
    /// `None` where the body is too small or too large to be compressed.
    encoded: Option<Arc<EncodedForms>>,
    /// The end of what the body was derived from, if that may end before the TTL of the body.
    valid_until: Option<Instant>,
}

/// The compressed forms of a body, each made for the first request that accepts it.
#[derive(Debug, Default)]
struct EncodedForms {
    gzip: OnceLock<Option<EncodedBody>>,
    brotli: OnceLock<Option<EncodedBody>>,
}

/// A compressed form of a body.
#[derive(Debug)]
pub struct EncodedBody {
    /// The compressed bytes.
    pub bytes: Bytes,
    /// Its strong entity tag: that of the body with the name of the encoding.
    pub etag: HeaderValue,
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
        let is_compressible = etag.is_some() && bytes.len() >= MIN_COMPRESSED;
        Self {
            encoded: is_compressible.then(Arc::default),
            bytes,
            etag,
            valid_until: None,
        }
    }

    /// The body, not to be cached beyond this time.
    #[must_use]
    pub(super) fn valid_until(self, end: Instant) -> Self {
        Self {
            valid_until: Some(end),
            ..self
        }
    }

    /// The rest of the time that it may be cached, if that is limited.
    pub(super) fn remaining(&self) -> Option<Duration> {
        Some(self.valid_until?.saturating_duration_since(Instant::now()))
    }

    /// The length in bytes.
    #[expect(
        clippy::len_without_is_empty,
        reason = "a body is JSON, so never empty"
    )]
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
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

    /// Whether the response depends on `Accept-Encoding`.
    #[must_use]
    pub fn is_compressible(&self) -> bool {
        self.encoded.is_some()
    }

    /// The body in this encoding; compressed at the first call and kept as long as the body.
    /// `None` where compression does not pay.
    #[must_use]
    pub fn encoded(&self, encoding: Encoding) -> Option<&EncodedBody> {
        let (forms, etag) = (self.encoded.as_deref()?, self.etag.as_ref()?);
        let form = match encoding {
            Encoding::Gzip => &forms.gzip,
            Encoding::Brotli => &forms.brotli,
        };
        let compress = || {
            Some(EncodedBody {
                bytes: encoding.compress(&self.bytes)?,
                etag: encoded_tag(etag, encoding)?,
            })
        };
        form.get_or_init(compress).as_ref()
    }

    /// The memory that the body may take, in bytes: each compressed form is at most half of it, and the
    /// tag, the handles and the allocator take the rest.
    pub(super) fn memory(&self) -> usize {
        let forms = if self.is_compressible() { 2 } else { 1 };
        self.bytes.len() * forms + 128
    }
}

/// The first 128 bits of the body's SHA-256, in quotation marks.
fn entity_tag(bytes: &Bytes) -> Option<HeaderValue> {
    let hash = Sha256::digest(bytes);
    let half: [u8; 16] = hash.first_chunk().copied()?;
    HeaderValue::try_from(format!("\"{:032x}\"", u128::from_be_bytes(half))).ok()
}

/// `"<digest>-gzip"` for `"<digest>"`.
fn encoded_tag(etag: &HeaderValue, encoding: Encoding) -> Option<HeaderValue> {
    let opaque = etag.to_str().ok()?.trim_matches('"');
    HeaderValue::try_from(format!("\"{opaque}-{}\"", encoding.name())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compressed_form_is_made_once_and_has_a_tag_of_its_own() {
        let body = Body::new(vec![b' '; MIN_COMPRESSED].into());
        let etag = body
            .etag()
            .unwrap()
            .to_str()
            .unwrap()
            .trim_matches('"')
            .to_owned();
        for (encoding, name) in [(Encoding::Gzip, "gzip"), (Encoding::Brotli, "br")] {
            let form = body.encoded(encoding).unwrap();
            assert_eq!(form.etag, format!("\"{etag}-{name}\""));
            let clone = body.clone();
            assert_eq!(
                clone.encoded(encoding).unwrap().bytes.as_ptr(),
                form.bytes.as_ptr()
            );
        }
        assert!(!Body::new(vec![b' '; MIN_COMPRESSED - 1].into()).is_compressible());
    }

    #[test]
    fn equal_bodies_have_equal_tags_and_large_ones_none() {
        let body = |text: &'static str| Body::new(Bytes::from_static(text.as_bytes()));
        assert_eq!(
            body("null").etag().unwrap(),
            "\"74234e98afe7498fb5daf1f36ac2d78a\""
        );
        assert_ne!(body("1").etag(), body("2").etag());
        let large = Body::new(vec![b' '; Body::MAX_CACHED + 1].into());
        assert!(large.etag().is_none());
        let largest = Body::new(vec![b' '; Body::MAX_CACHED].into());
        assert!(largest.etag().is_some());
    }
}
