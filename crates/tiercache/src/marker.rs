//! Control values: what a key holds while it holds no payload.
//!
//! A marker is JSON `null` followed by JSON white space, so a reader that knows nothing of
//! markers decodes it to "nothing here":
//!
//! | bytes | meaning |
//! |---|---|
//! | `null` | **tombstone**: the value was invalidated |
//! | `null`, a tab, a nonce | **lease**: somebody is loading this |
//! | `null`, a line feed, a nonce | **fence**: somebody is changing this |
//!
//! The nonce is 128 random bits written as 64 characters of white space, two bits each. It is
//! new for every attempt: a nonce a process used twice would let the fill of an old attempt
//! pass for the fill of a new one (ABA).

use bytes::Bytes;

/// What an invalidated key holds.
pub(crate) const TOMBSTONE: &[u8] = b"null";

/// Two bits a character: the four kinds of JSON white space.
const WHITE_SPACE: [u8; 4] = *b" \t\n\r";
const NONCE_LEN: usize = 64;
const PREFIX_LEN: usize = TOMBSTONE.len() + 1;
const LEN: usize = PREFIX_LEN + NONCE_LEN;

const LEASE_PREFIX: &[u8; PREFIX_LEN] = b"null\t";
const FENCE_PREFIX: &[u8; PREFIX_LEN] = b"null\n";

/// The right to fill a key once, held by one load of one process.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Lease([u8; LEN]);

/// One writer's claim that the value of a key is about to change.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct FenceToken([u8; LEN]);

impl Lease {
    /// A lease no other attempt has, here or elsewhere.
    pub(crate) fn new() -> Self {
        Self(marker(LEASE_PREFIX, rand::random()))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl FenceToken {
    /// A fence no other attempt has, here or elsewhere.
    pub(crate) fn new() -> Self {
        Self(marker(FENCE_PREFIX, rand::random()))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

fn marker(prefix: &[u8; PREFIX_LEN], nonce: u128) -> [u8; LEN] {
    let mut bytes = [0; LEN];
    let (head, tail) = bytes.split_at_mut(PREFIX_LEN);
    head.copy_from_slice(prefix);
    for (i, byte) in tail.iter_mut().enumerate() {
        *byte = WHITE_SPACE[(nonce >> (2 * i)) as usize & 0b11];
    }
    bytes
}

/// What was found under a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// Nothing, or a tombstone: free to be leased.
    Nothing,
    /// Somebody is loading the value.
    Leased,
    /// Somebody is changing the value.
    Fenced,
    /// A payload, not yet looked at.
    Payload(Bytes),
    /// Something of another Valkey type than string, which no program of ours has put there.
    OtherType,
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

/// Exact in length and alphabet: what merely looks like a marker is a payload, will be
/// rejected as one and then replaced. Were it taken for a marker, it would stay for good.
fn is_marker(bytes: &[u8], prefix: &[u8; PREFIX_LEN]) -> bool {
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
    fn markers_are_written_byte_for_byte() {
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
    fn markers_are_told_apart() {
        assert_eq!(Stored::from(None), Stored::Nothing);
        assert_eq!(stored(b"null"), Stored::Nothing);
        assert_eq!(stored(Lease::new().as_bytes()), Stored::Leased);
        assert_eq!(stored(FenceToken::new().as_bytes()), Stored::Fenced);
    }

    #[test]
    fn what_only_resembles_a_marker_is_a_payload() {
        let mut foreign = Lease::new().as_bytes().to_vec();
        foreign[30] = b'x';
        for bytes in [
            &b""[..],
            b"null ",
            b"null\n",
            b"null\t",
            b"nullx",
            b"{}",
            &foreign,
        ] {
            assert_eq!(
                stored(bytes),
                Stored::Payload(Bytes::copy_from_slice(bytes))
            );
        }
    }

    #[test]
    fn a_nonce_is_new_for_every_attempt() {
        assert!(Lease::new() != Lease::new());
        assert!(FenceToken::new() != FenceToken::new());
    }

    #[test]
    fn other_readers_decode_markers_to_null() {
        for bytes in [
            TOMBSTONE,
            Lease::new().as_bytes(),
            FenceToken::new().as_bytes(),
        ] {
            let decoded: serde_json::Value = serde_json::from_slice(bytes).unwrap();
            assert!(decoded.is_null());
        }
    }
}
