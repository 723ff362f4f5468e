//! Generations: what the key of a group holds, and the tags of the group's payloads.
//!
//! | bytes of the group's key | meaning |
//! |---|---|
//! | `null`, a carriage return, a nonce | **generation**: payloads with this nonce as their tag are current |
//! | `null`, a line feed, a nonce | **fence**: a transaction is changing values of the group |
//! | anything else, or nothing | no payload of the group is current |
//!
//! A payload's tag is the nonce of the generation that the key held *before* the value was loaded:
//! 64 characters of JSON white space at its end, which readers without this protocol ignore.

use bytes::Bytes;

use crate::protocol::marker::{LEN, PREFIX_LEN, Stored, WHITE_SPACE, is_marker, marker};
use crate::seams::{mutant, random};

const GENERATION_PREFIX: &[u8; PREFIX_LEN] = b"null\r";

/// The length of a tag in bytes.
pub(crate) const TAG_LEN: usize = LEN - PREFIX_LEN;

/// Whether the last bytes of a payload are a tag, of whatever generation.
pub(crate) fn is_tag(tail: &[u8]) -> bool {
    tail.len() == TAG_LEN && tail.iter().all(|byte| WHITE_SPACE.contains(byte))
}

/// A generation of a group: between two writes of its values, each value is loaded under the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Generation([u8; LEN]);

impl Generation {
    /// A unique generation.
    pub(crate) fn new() -> Self {
        mutant!(GenerationReused => return Self(marker(GENERATION_PREFIX, 7)));
        Self(marker(GENERATION_PREFIX, random()))
    }

    /// The tag of the payloads that were loaded under it.
    fn tag(&self) -> &[u8] {
        &self.0[PREFIX_LEN..]
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes = is_marker(bytes, GENERATION_PREFIX).then_some(bytes)?;
        Some(Self(bytes.try_into().ok()?))
    }
}

impl AsRef<[u8]> for Generation {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// What the group of a key says of its payloads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GroupState {
    /// The key belongs to no group: payloads have no tag.
    Ungrouped,
    /// None is current.
    Missing,
    /// None is current, and none may be stored: a write is in progress.
    Fenced,
    /// Those with the tag of this generation are current.
    Current(Generation),
}

impl GroupState {
    /// The state by the content of the group's key.
    pub(crate) fn of(content: Option<Bytes>) -> Self {
        match content.as_deref().and_then(Generation::parse) {
            Some(generation) => Self::Current(generation),
            None if Stored::from(content) == Stored::Fenced => Self::Fenced,
            None => Self::Missing,
        }
    }

    /// The payload without its tag; `None` if it is not current.
    pub(crate) fn current(&self, payload: &Bytes) -> Option<Bytes> {
        match self {
            Self::Ungrouped => Some(payload.clone()),
            Self::Missing | Self::Fenced => None,
            Self::Current(generation) => {
                mutant!(TagIgnored => return Some(payload.slice(..payload.len().checked_sub(TAG_LEN)?)));
                let untagged = payload.strip_suffix(generation.tag())?;
                Some(payload.slice_ref(untagged))
            }
        }
    }

    /// The payload with its tag, to be stored.
    pub(crate) fn tagged(&self, payload: Bytes) -> Bytes {
        match self {
            Self::Current(generation) => [&payload, generation.tag()].concat().into(),
            Self::Ungrouped | Self::Missing | Self::Fenced => payload,
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::protocol::marker::{FenceToken, Lease, TOMBSTONE};

    fn state(content: &[u8]) -> GroupState {
        GroupState::of(Some(Bytes::copy_from_slice(content)))
    }

    #[test]
    fn the_content_of_a_groups_key_is_a_generation_a_fence_or_nothing() {
        let generation = Generation::new();
        assert_eq!(
            state(generation.as_ref()),
            GroupState::Current(generation.clone())
        );
        assert_eq!(state(FenceToken::new().as_ref()), GroupState::Fenced);
        assert_eq!(GroupState::of(None), GroupState::Missing);
        let longer = [generation.as_ref(), b" "].concat();
        for other in [TOMBSTONE, Lease::new().as_ref(), b"[]", &longer] {
            assert_eq!(state(other), GroupState::Missing);
        }
    }

    #[test]
    fn only_payloads_of_the_present_generation_are_current() {
        let (one, other) = (Generation::new(), Generation::new());
        let payload = Bytes::from_static(b"[1]");
        let present = GroupState::Current(one);
        let stored = present.tagged(payload.clone());
        assert_eq!(present.current(&stored), Some(payload.clone()));
        assert_eq!(present.current(&payload), None, "without a tag");
        assert_eq!(GroupState::Current(other).current(&stored), None);
        assert_eq!(GroupState::Missing.current(&stored), None);
        assert_eq!(GroupState::Fenced.current(&stored), None);
        assert_eq!(GroupState::Ungrouped.current(&payload), Some(payload));
    }

    #[test]
    fn a_tagged_payload_is_the_same_json_and_no_marker() {
        let present = GroupState::Current(Generation::new());
        for json in ["[]", "{\"count\":7}", "[\"\\n\"]"] {
            let stored = present.tagged(Bytes::from_static(json.as_bytes()));
            let decoded: serde_json::Value = serde_json::from_slice(&stored).unwrap();
            assert_eq!(
                decoded,
                serde_json::from_str::<serde_json::Value>(json).unwrap()
            );
            assert!(matches!(Stored::from(Some(stored)), Stored::Payload(_)));
        }
    }

    #[test]
    fn a_generation_is_unique_and_decodes_to_null() {
        assert!(Generation::new() != Generation::new());
        let decoded: serde_json::Value =
            serde_json::from_slice(Generation::new().as_ref()).unwrap();
        assert!(decoded.is_null());
    }
}
