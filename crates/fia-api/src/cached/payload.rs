//! Helpers for payloads in Valkey.

use std::borrow::Cow;
use std::collections::HashMap;

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::model::json::compact;

/// A field of a payload. The outer `None`: the payload is no object; the inner: it has no such
/// field.
///
/// Parsed into a map: serde would read a JSON array into a struct, too.
pub(super) fn field<'a>(payload: &'a [u8], name: &str) -> Option<Option<&'a RawValue>> {
    let fields: HashMap<Cow<'_, str>, &RawValue> = serde_json::from_slice(payload).ok()?;
    Some(fields.get(name).copied())
}

/// `{"<key>":<body>}`: a cached `null` is an object, which differs from a miss.
pub(super) fn wrap(key: &str, body: &Bytes) -> Bytes {
    [b"{\"", key.as_bytes(), b"\":", body, b"}"].concat().into()
}

/// The value in compact form, if it is a string or `null`.
pub(super) fn string_or_null(payload: &Bytes, raw: &RawValue) -> Option<Bytes> {
    matches!(raw.get().as_bytes(), b"null" | [b'"', ..]).then_some(())?;
    compact(payload, raw)
}
