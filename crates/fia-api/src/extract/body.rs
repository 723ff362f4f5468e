//! The body of a request: received within its limits, then parsed.

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value};

use crate::error::ApiError;
use crate::extract::receive;
use crate::model::input::{FromObject, ValidationErrors};
use crate::model::json;
use crate::state::AppState;

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

    /// Receives the body and checks its JSON syntax.
    fn receive(
        headers: &HeaderMap,
        body: Body,
        limit: usize,
    ) -> impl Future<Output = Result<RawBody, ApiError>> + Send {
        receive_json(headers, body, limit)
    }

    /// Parses the value, or adds validation errors.
    fn parse(body: RawBody, errors: &mut ValidationErrors) -> Option<Self>;
}

/// A route that reads no body.
impl FromBody for () {
    async fn receive(_: &HeaderMap, _: Body, _: usize) -> Result<RawBody, ApiError> {
        Ok(RawBody::Unread)
    }

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

async fn receive_json(headers: &HeaderMap, body: Body, limit: usize) -> Result<RawBody, ApiError> {
    let bytes = receive::whole(headers, body, limit).await?;
    parse(headers, &bytes)
}

fn parse(headers: &HeaderMap, bytes: &Bytes) -> Result<RawBody, ApiError> {
    if bytes.is_empty() {
        return Ok(RawBody::Empty);
    }
    if !is_json(headers) {
        return Ok(RawBody::NotJson);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| ApiError::UnreadableBody)?;
    match serde_json::from_str(text.trim_start_matches('\u{feff}')) {
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
