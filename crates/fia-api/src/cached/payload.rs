//! What payloads in Valkey have in common.

use std::borrow::Cow;
use std::collections::HashMap;

use bytes::Bytes;
use serde_json::value::RawValue;

/// A field of a payload that is an object. A peer may have left it out: then it reads as `null`.
///
/// A map, not a struct: into a struct, the JSON array `[1]` would be read as well.
pub(super) fn field<'a>(payload: &'a [u8], name: &str) -> Option<&'a RawValue> {
    let fields: HashMap<Cow<'_, str>, &RawValue> = serde_json::from_slice(payload).ok()?;
    Some(fields.get(name).copied().unwrap_or(RawValue::NULL))
}

/// `{"<key>":<body>}`: a cached "has none" is an object, and so is told apart from a miss.
pub(super) fn wrap(key: &str, body: &Bytes) -> Bytes {
    [b"{\"", key.as_bytes(), b"\":", body, b"}"].concat().into()
}
