//! Values of any size: JSON numbers after white space.

use bytes::Bytes;
use tiercache::{Codec, CodecError};

/// Encodes numbers, each after so many spaces.
pub(crate) struct Padded(pub(crate) usize);

impl Codec<Option<u64>> for Padded {
    fn encode(&self, value: &Option<u64>) -> Result<Bytes, CodecError> {
        let digits = value.map_or_else(|| "null".to_owned(), |value| value.to_string());
        let mut payload = vec![b' '; self.0];
        payload.extend_from_slice(digits.as_bytes());
        Ok(payload.into())
    }

    fn decode(&self, payload: &Bytes) -> Result<Option<u64>, CodecError> {
        Ok(match payload.trim_ascii() {
            b"null" => None,
            digits => Some(std::str::from_utf8(digits)?.parse()?),
        })
    }
}
