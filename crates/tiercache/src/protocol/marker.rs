//! Markers: the control values that a key holds in place of a payload.
//!
//! A marker is JSON `null` followed by JSON white space, so that clients without this protocol
//! decode it to null, a miss:
//!
//! | bytes | meaning |
//! |---|---|
//! | `null` | **tombstone**: the value was invalidated |
//! | `null`, a tab, a nonce | **lease**: a process is loading the value |
//! | `null`, a line feed, a nonce | **fence**: a transaction is changing the value |
//!
//! The keys of groups hold others: see [`super::generation`].
//!
//! The nonce is 128 random bits, encoded in 64 white-space characters of two bits each. It is new
//! for every attempt: with a nonce per process, the delayed FILL of an earlier attempt would be
//! accepted for a later one (ABA).
//!
//! The last character of a fence is a space. An invalidation that leaves the fence of another
//! writer replaces it by a tab: since then, that writer may not store its value.

use bytes::Bytes;

use crate::seams::{mutant, random};

/// The content of an invalidated key.
pub(crate) const TOMBSTONE: &[u8] = b"null";

/// Two bits a character: the four kinds of JSON white space.
pub(super) const WHITE_SPACE: [u8; 4] = *b" \t\n\r";
const NONCE_LEN: usize = 64;
pub(super) const PREFIX_LEN: usize = TOMBSTONE.len() + 1;
pub(super) const LEN: usize = PREFIX_LEN + NONCE_LEN;

const LEASE_PREFIX: &[u8; PREFIX_LEN] = b"null\t";
const FENCE_PREFIX: &[u8; PREFIX_LEN] = b"null\n";

/// The bits of a nonce whose last character is a space.
const UNMARKED: u128 = u128::MAX >> 2;

/// The right to fill a key once, for one load.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Lease([u8; LEN]);

/// The mark of a write in progress, for one transaction.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct FenceToken([u8; LEN]);

impl Lease {
    /// A unique lease.
    pub(crate) fn new() -> Self {
        mutant!(LeaseReused => return Self(marker(LEASE_PREFIX, 7)));
        Self(marker(LEASE_PREFIX, random()))
    }
}

impl FenceToken {
    /// A unique fence.
    pub(crate) fn new() -> Self {
        Self(marker(FENCE_PREFIX, random::<u128>() & UNMARKED))
    }
}

impl AsRef<[u8]> for Lease {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for FenceToken {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

pub(super) fn marker(prefix: &[u8; PREFIX_LEN], nonce: u128) -> [u8; LEN] {
    let mut bytes = [0; LEN];
    let (head, tail) = bytes.split_at_mut(PREFIX_LEN);
    head.copy_from_slice(prefix);
    for (i, byte) in tail.iter_mut().enumerate() {
        *byte = WHITE_SPACE[(nonce >> (2 * i)) as usize & 0b11];
    }
    bytes
}

/// The content of a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// Nothing, or a tombstone: a lease can be acquired.
    Nothing,
    /// A lease.
    Leased,
    /// A fence.
    Fenced,
    /// A payload, not decoded.
    Payload(Bytes),
    /// Another Valkey type than string.
    OtherType,
}

impl Stored {
    /// The length of a lease and of a fence in bytes.
    pub(crate) const MARKER_LEN: usize = LEN;
}

/// Whether a content is a marker; true also of some payloads that are null.
pub(crate) fn may_be_marker(content: &[u8]) -> bool {
    content.len() <= LEN && content.starts_with(TOMBSTONE)
}

impl From<Option<Bytes>> for Stored {
    fn from(found: Option<Bytes>) -> Self {
        match found {
            None => Self::Nothing,
            Some(bytes) if bytes == TOMBSTONE => Self::Nothing,
            Some(bytes) if is_marker(&bytes, LEASE_PREFIX) => Self::Leased,
            Some(bytes) if is_marker(&bytes, FENCE_PREFIX) => Self::Fenced,
            Some(bytes) => Self::Payload(bytes),
        }
    }
}

/// Exact in length and alphabet: anything similar is a payload, which is rejected and then
/// replaced. As a marker without a TTL it would block the key for ever.
pub(super) fn is_marker(bytes: &[u8], prefix: &[u8; PREFIX_LEN]) -> bool {
    bytes.len() == LEN
        && bytes.starts_with(prefix)
        && bytes[PREFIX_LEN..]
            .iter()
            .all(|byte| WHITE_SPACE.contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(bytes: &[u8]) -> Stored {
        Stored::from(Some(Bytes::copy_from_slice(bytes)))
    }

    #[test]
    fn the_encoding_of_markers_is_fixed() {
        let bits = 0b11_10_01_00_u128;
        let lease = marker(LEASE_PREFIX, bits);
        assert_eq!(&lease[..9], b"null\t \t\n\r");
        assert!(
            lease[9..].iter().all(|byte| *byte == b' '),
            "two zero bits are a space"
        );
        assert_eq!(lease.len(), 69);
        let fence = marker(FENCE_PREFIX, u128::MAX);
        assert_eq!(&fence[..5], b"null\n");
        assert!(
            fence[5..].iter().all(|byte| *byte == b'\r'),
            "all 128 bits are written"
        );
    }

    #[test]
    fn markers_are_recognised() {
        assert_eq!(Stored::from(None), Stored::Nothing);
        assert_eq!(stored(b"null"), Stored::Nothing);
        assert_eq!(stored(Lease::new().as_ref()), Stored::Leased);
        assert_eq!(stored(FenceToken::new().as_ref()), Stored::Fenced);
    }

    /// The test vectors of the protocol, for every implementation.
    #[test]
    fn contents_of_a_key_are_what_the_vectors_say() {
        let vectors = include_str!("../../protocol/vectors.json");
        let vectors: serde_json::Value = serde_json::from_str(vectors).unwrap();
        let markers = vectors["markers"].as_array().unwrap();
        assert!(markers.len() > 10);
        for vector in markers {
            let found = match stored(vector["content"].as_str().unwrap().as_bytes()) {
                Stored::Nothing => "nothing",
                Stored::Leased => "leased",
                Stored::Fenced => "fenced",
                Stored::Payload(_) => "payload",
                Stored::OtherType => "other type",
            };
            assert_eq!(found, vector["is"], "{vector}");
        }
    }

    #[test]
    fn every_marker_is_unique() {
        assert!(Lease::new() != Lease::new());
        assert!(FenceToken::new() != FenceToken::new());
    }

    #[test]
    fn markers_decode_to_json_null() {
        for bytes in [TOMBSTONE, Lease::new().as_ref(), FenceToken::new().as_ref()] {
            let decoded: serde_json::Value = serde_json::from_slice(bytes).unwrap();
            assert!(decoded.is_null());
        }
    }
}
