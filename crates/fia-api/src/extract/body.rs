//! The values that are parsed from the body of a request.

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value};

use crate::error::ApiError;
use crate::model::input::{FromObject, ValidationErrors};
use crate::model::json;
use crate::model::json::SyntaxCheck;
use crate::state::AppState;

/// The most values and keys in a body. Each takes some hundred bytes of memory once parsed.
const MAX_NODES: usize = 100_000;
/// The size in bytes from which a body is decoded on a thread for blocking work.
const LARGE: usize = 64 * 1024;
/// The byte order mark, which is skipped.
pub(super) const BOM: char = '\u{feff}';

/// A body as it was received.
#[derive(Debug)]
pub enum RawBody {
    /// The route reads no body.
    Unread,
    /// No body, or the JSON literal `null`.
    Empty,
    /// A body whose content type is not JSON.
    NotJson,
    /// A JSON value.
    Value(Value),
}

/// A value parsed from a request's body.
pub trait FromBody: Sized + Send {
    /// The largest body of a request with these headers, in bytes.
    fn limit(state: &AppState, headers: &HeaderMap) -> usize {
        let _ = headers;
        state.limits.max_body_bytes
    }

    /// Whether the route reads a body.
    const IS_READ: bool = true;

    /// Decodes a JSON text that is not empty.
    ///
    /// # Errors
    /// If the text is not JSON, or has more than 100,000 values and keys.
    fn decode(text: &str) -> Result<RawBody, ApiError> {
        tree(text)
    }

    /// Checks the limits of the value before it is parsed.
    ///
    /// # Errors
    /// If the value exceeds a limit.
    fn check_limits(_: &RawBody, _: &AppState) -> Result<(), ApiError> {
        Ok(())
    }

    /// Parses the value, or adds validation errors.
    fn parse(body: RawBody, errors: &mut ValidationErrors) -> Option<Self>;
}

/// A route that reads no body.
impl FromBody for () {
    const IS_READ: bool = false;

    fn parse(_: RawBody, _: &mut ValidationErrors) -> Option<Self> {
        Some(())
    }
}

/// A declared body.
impl<T: FromObject + Send> FromBody for T {
    fn parse(body: RawBody, errors: &mut ValidationErrors) -> Option<Self> {
        T::from_object(body.object(errors)?, errors)
    }
}

/// Any JSON object that PostgreSQL can store as `jsonb`.
#[derive(Debug)]
pub struct Json(pub Value);

impl FromBody for Json {
    fn parse(body: RawBody, errors: &mut ValidationErrors) -> Option<Self> {
        let value = Value::Object(body.object(errors)?);
        if json::holds_nul(&value) {
            errors.add("value_error", &["body"], "Input should not hold NUL");
        } else if !json::is_storable(&value) {
            let message = "Input should hold finite numbers only";
            errors.add("finite_number", &["body"], message);
        } else {
            return Some(Self(value));
        }
        None
    }
}

impl RawBody {
    /// The JSON object in the body, or a validation error.
    pub fn object(self, errors: &mut ValidationErrors) -> Option<Map<String, Value>> {
        match self {
            Self::Value(Value::Object(object)) => return Some(object),
            Self::Unread | Self::Empty => errors.add("missing", &["body"], "Field required"),
            Self::NotJson | Self::Value(_) => {
                let message = "Input should be a valid dictionary or object to extract fields from";
                errors.add("model_attributes_type", &["body"], message);
            }
        }
        None
    }
}

/// Decodes the body of a known caller.
pub(super) async fn decode<B: FromBody>(
    headers: &HeaderMap,
    bytes: Bytes,
) -> Result<RawBody, ApiError> {
    if bytes.is_empty() {
        return Ok(RawBody::Empty);
    }
    if !is_json(headers) {
        return Ok(RawBody::NotJson);
    }
    let is_small = bytes.len() < LARGE;
    let decode = move || {
        let text = std::str::from_utf8(&bytes).map_err(|_| ApiError::UnreadableBody)?;
        B::decode(text.trim_start_matches(BOM))
    };
    if is_small {
        return decode();
    }
    tokio::task::spawn_blocking(decode)
        .await
        .map_err(|_| ApiError::Internal)?
}

/// Builds the tree of a JSON text, unless it is too large.
pub(super) fn tree(text: &str) -> Result<RawBody, ApiError> {
    let mut check = SyntaxCheck::default();
    check.push(text.as_bytes());
    if !check.is_complete() {
        return Err(syntax_error());
    }
    if check.nodes() > MAX_NODES {
        return Err(ApiError::TooLarge);
    }
    match serde_json::from_str(text) {
        Ok(Value::Null) => Ok(RawBody::Empty),
        Ok(value) => Ok(RawBody::Value(value)),
        Err(_) => Err(syntax_error()),
    }
}

/// The error of a body that is not JSON.
pub(super) fn syntax_error() -> ApiError {
    let mut errors = ValidationErrors::default();
    errors.add("json_invalid", &["body"], "JSON decode error");
    errors.into()
}

/// `application/json` or `application/*+json`, parameters ignored.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    let essence = value.split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    essence
        .strip_prefix("application/")
        .is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_media_types_are_parsed() {
        for (value, parsed) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/ld+json", true),
            ("text/json", false),
            ("application/jsonp", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, value.parse().unwrap());
            assert_eq!(is_json(&headers), parsed, "{value}");
        }
    }
}
