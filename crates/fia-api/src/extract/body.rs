//! The body of a request: received within its limits, then parsed.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::{Map, Value};
use tokio::time::timeout;

use crate::error::ApiError;
use crate::model::input::{FromObject, ValidationErrors};
use crate::model::json;

/// The timeout for receiving a body.
const RECEIVE_TIMEOUT: Duration = Duration::from_secs(9);

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
    /// Receives the body and checks its JSON syntax.
    fn receive(
        headers: &HeaderMap,
        body: Body,
        limit: usize,
    ) -> impl Future<Output = Result<RawBody, ApiError>> + Send {
        receive_json(headers, body, limit)
    }

    /// Parses the value, or adds validation errors.
    fn parse(body: &RawBody, errors: &mut ValidationErrors) -> Option<Self>;
}

/// A route that reads no body.
impl FromBody for () {
    async fn receive(_: &HeaderMap, _: Body, _: usize) -> Result<RawBody, ApiError> {
        Ok(RawBody::Unread)
    }

    fn parse(_: &RawBody, _: &mut ValidationErrors) -> Option<Self> {
        Some(())
    }
}

/// A declared body.
impl<T: FromObject + Send> FromBody for T {
    fn parse(body: &RawBody, errors: &mut ValidationErrors) -> Option<Self> {
        T::from_object(body.object(errors)?, errors)
    }
}

/// Any JSON object that PostgreSQL can store as `jsonb`.
#[derive(Debug)]
pub struct Json(pub Value);

impl FromBody for Json {
    fn parse(body: &RawBody, errors: &mut ValidationErrors) -> Option<Self> {
        let value = Value::Object(body.object(errors)?.clone());
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
    pub fn object(&self, errors: &mut ValidationErrors) -> Option<&Map<String, Value>> {
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
    let length = headers.get(CONTENT_LENGTH);
    let length: Option<usize> = length.and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_some_and(|length| length > limit) {
        return Err(ApiError::TooLarge);
    }
    let bytes = timeout(RECEIVE_TIMEOUT, Limited::new(body, limit).collect())
        .await
        .map_err(|_| ApiError::TooSlow)?
        .map_err(|error| match error.downcast_ref::<LengthLimitError>() {
            Some(_) => ApiError::TooLarge,
            // The client disconnected or sent an invalid frame; the response is not read.
            None => ApiError::UnreadableBody,
        })?
        .to_bytes();
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
        Err(_) => {
            let mut errors = ValidationErrors::default();
            errors.add("json_invalid", &["body"], "JSON decode error");
            Err(errors.into())
        }
    }
}

/// `application/json` or `application/*+json`, parameters ignored.
fn is_json(headers: &HeaderMap) -> bool {
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
