//! The OpenAPI document. It is a file, not derived from code: operation ids and schema names
//! feed a generated client, and a test holds it against the routes.

use bytes::Bytes;
use serde_json::Value;

use crate::model::json;

/// The document in the source tree.
pub const SOURCE: &str = include_str!("../../openapi.json");

/// The document as served. In `DEV_MODE` nothing is served under `/api`, so the server with that
/// prefix is removed.
#[must_use]
pub fn document(dev_mode: bool) -> Bytes {
    let Ok(mut document) = serde_json::from_str::<Value>(SOURCE) else {
        return Bytes::from_static(SOURCE.as_bytes());
    };
    if dev_mode && let Some(fields) = document.as_object_mut() {
        fields.shift_remove("servers");
    }
    json::render(&document)
}
