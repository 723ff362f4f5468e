//! Codecs: how the values of a namespace are stored as payloads in the shared level.

use std::error::Error;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The error of a codec.
pub type CodecError = Box<dyn Error + Send + Sync>;

/// Encodes the values of a namespace as payloads, and decodes payloads.
///
/// Every payload is safe, also one that the protocol would take for a marker: JSON `null`, for
/// instance, is padded with white space, so that `Option<V>` with [`Json`] caches `None`.
///
/// Other programs may write the same keys. A payload that cannot be decoded is a miss and is
/// replaced.
///
/// ```
/// use bytes::Bytes;
/// use tiercache::{Codec, CodecError};
///
/// /// Stores a number as decimal digits.
/// struct Digits;
///
/// impl Codec<u64> for Digits {
///     fn encode(&self, value: &u64) -> Result<Bytes, CodecError> {
///         Ok(value.to_string().into())
///     }
///
///     fn decode(&self, payload: &Bytes) -> Result<u64, CodecError> {
///         Ok(std::str::from_utf8(payload)?.parse()?)
///     }
/// }
///
/// assert_eq!(Digits.decode(&Digits.encode(&7)?)?, 7);
/// # Ok::<(), CodecError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "the codec `{Self}` does not encode values of type `{V}`",
    note = "`Json` encodes what serde serialises; `codec` makes a codec of two closures"
)]
pub trait Codec<V>: Send + Sync + 'static {
    /// Encodes a value.
    ///
    /// # Errors
    /// If the value has no encoding. It is then returned to the caller but not cached.
    fn encode(&self, value: &V) -> Result<Bytes, CodecError>;

    /// Decodes a payload.
    ///
    /// # Errors
    /// If the payload is not one of this codec. It is then replaced.
    fn decode(&self, payload: &Bytes) -> Result<V, CodecError>;
}

/// JSON, by serde.
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

impl<V: Serialize + DeserializeOwned> Codec<V> for Json {
    fn encode(&self, value: &V) -> Result<Bytes, CodecError> {
        Ok(serde_json::to_vec(value)?.into())
    }

    fn decode(&self, payload: &Bytes) -> Result<V, CodecError> {
        Ok(serde_json::from_slice(payload)?)
    }
}

/// Bytes and strings as they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Raw;

impl Codec<Bytes> for Raw {
    fn encode(&self, value: &Bytes) -> Result<Bytes, CodecError> {
        Ok(value.clone())
    }

    fn decode(&self, payload: &Bytes) -> Result<Bytes, CodecError> {
        Ok(payload.clone())
    }
}

impl Codec<String> for Raw {
    fn encode(&self, value: &String) -> Result<Bytes, CodecError> {
        Ok(value.clone().into())
    }

    fn decode(&self, payload: &Bytes) -> Result<String, CodecError> {
        Ok(std::str::from_utf8(payload)?.to_owned())
    }
}

/// A codec of two closures; `decode` returns `None` for a payload that is not one of its own.
///
/// ```
/// use bytes::Bytes;
///
/// let flag = tiercache::codec(
///     |on: &bool| Bytes::from_static(if *on { b"on" } else { b"off" }),
///     |payload| match &payload[..] {
///         b"on" => Some(true),
///         b"off" => Some(false),
///         _ => None,
///     },
/// );
/// # let _: Box<dyn tiercache::Codec<bool>> = Box::new(flag);
/// ```
pub fn codec<V, E, D>(encode: E, decode: D) -> impl Codec<V>
where
    E: Fn(&V) -> Bytes + Send + Sync + 'static,
    D: Fn(&Bytes) -> Option<V> + Send + Sync + 'static,
{
    Closures { encode, decode }
}

struct Closures<E, D> {
    encode: E,
    decode: D,
}

impl<V, E, D> Codec<V> for Closures<E, D>
where
    E: Fn(&V) -> Bytes + Send + Sync + 'static,
    D: Fn(&Bytes) -> Option<V> + Send + Sync + 'static,
{
    fn encode(&self, value: &V) -> Result<Bytes, CodecError> {
        Ok((self.encode)(value))
    }

    fn decode(&self, payload: &Bytes) -> Result<V, CodecError> {
        (self.decode)(payload).ok_or_else(|| "invalid payload".into())
    }
}
