//! Values of any size: JSON numbers after white space.

use bytes::Bytes;
use tiercache::{Codec, CodecError};

/// Encodes numbers, each after so many spaces.
pub(crate) struct Padded(pub(crate) usize);

impl Codec<u64> for Padded {
    fn encode(&self, value: &u64) -> Result<Bytes, CodecError> {
        let digits = value.to_string();
        let mut payload = vec![b' '; self.0];
        payload.extend_from_slice(digits.as_bytes());
        Ok(payload.into())
    }

    fn decode(&self, payload: &Bytes) -> Result<u64, CodecError> {
        Ok(std::str::from_utf8(payload.trim_ascii())?.parse()?)
    }
}
