//! A request's body: received within its limits, then read in the older server's lax mode.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::{Map, Value};
use tokio::time::timeout;

use crate::error::ApiError;
use crate::extract::{ValidationErrors, coerce};
use crate::model::json;

/// How long a body may take to arrive.
const RECEIVE: Duration = Duration::from_secs(9);

/// What arrived.
#[derive(Debug)]
pub enum RawBody {
    /// The route reads no body.
    Unread,
    /// Nothing, or the JSON literal `null`.
    Empty,
    /// Something that does not say it is JSON.
    NotJson,
    /// A JSON value.
    Value(Value),
}

/// A value read from a request's body.
pub trait FromBody: Sized + Send {
    /// Takes the body off the wire and checks its syntax.
    fn receive(
        headers: &HeaderMap,
        body: Body,
        limit: usize,
    ) -> impl Future<Output = Result<RawBody, ApiError>> + Send {
        receive_json(headers, body, limit)
    }

    /// Reads the value, or notes what is wrong.
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

/// Any JSON object that PostgreSQL can keep as `jsonb`.
#[derive(Debug)]
pub struct Json(pub Value);

impl FromBody for Json {
    fn parse(body: &RawBody, errors: &mut ValidationErrors) -> Option<Self> {
        let fields = Fields::of(body, errors)?;
        let value = Value::Object(fields.object.clone());
        if json::holds_nul(&value) {
            errors.add("value_error", &["body"], "Input should not hold NUL");
        } else if !json::is_storable(&value) {
            errors.add(
                "finite_number",
                &["body"],
                "Input should hold finite numbers only",
            );
        } else {
            return Some(Self(value));
        }
        None
    }
}

/// The fields of a body that must be an object.
pub struct Fields<'a> {
    object: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    /// The body's fields, or what is wrong with it as a whole.
    pub fn of(body: &'a RawBody, errors: &mut ValidationErrors) -> Option<Self> {
        match body {
            RawBody::Value(Value::Object(object)) => return Some(Self { object }),
            RawBody::Unread | RawBody::Empty => {
                errors.add("missing", &["body"], "Field required");
            }
            RawBody::NotJson | RawBody::Value(_) => {
                let message = "Input should be a valid dictionary or object to extract fields from";
                errors.add("model_attributes_type", &["body"], message);
            }
        }
        None
    }

    /// All fields with their names, in the order they were sent.
    pub fn iter(&self) -> impl Iterator<Item = (&'a String, &'a Value)> + use<'a> {
        self.object.iter()
    }

    /// A field that must be there and be a string, without NUL.
    pub fn string(&self, name: &str, errors: &mut ValidationErrors) -> Option<String> {
        let loc = ["body", name];
        match self.object.get(name) {
            None => errors.add("missing", &loc, "Field required"),
            Some(Value::String(text)) if text.contains('\0') => {
                errors.add("value_error", &loc, "Input should not hold NUL");
            }
            Some(Value::String(text)) => return Some(text.clone()),
            Some(_) => errors.add("string_type", &loc, "Input should be a valid string"),
        }
        None
    }

    /// A field that must be there and be an integer, or what the older server takes for one: a
    /// text of one, a number without a fraction, a truth value. Clamped to 64 bits.
    pub fn integer(&self, name: &str, errors: &mut ValidationErrors) -> Option<i64> {
        let loc = ["body", name];
        let Some(value) = self.object.get(name) else {
            errors.add("missing", &loc, "Field required");
            return None;
        };
        let number = match value {
            Value::Bool(truth) => Some(i128::from(*truth)),
            Value::Number(number) => coerce::whole(number),
            Value::String(text) => coerce::integer(text),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        };
        if number.is_none() {
            errors.add("int_parsing", &loc, "Input should be a valid integer");
        }
        number.map(coerce::clamp)
    }

    /// A field as [`Fields::integer`] that the database's `integer` must hold.
    pub fn small_integer(&self, name: &str, errors: &mut ValidationErrors) -> Option<i32> {
        let number = i32::try_from(self.integer(name, errors)?).ok();
        if number.is_none() {
            let message = "Input should be an integer of at most 32 bits";
            errors.add("value_error", &["body", name], message);
        }
        number
    }

    /// A field that must be there and be an object that PostgreSQL can keep as `jsonb`.
    pub fn storable_object(
        &self,
        name: &str,
        errors: &mut ValidationErrors,
    ) -> Option<Map<String, Value>> {
        let loc = ["body", name];
        let Some(value) = self.object.get(name) else {
            errors.add("missing", &loc, "Field required");
            return None;
        };
        match value {
            Value::Object(_) if !json::is_storable(value) || json::holds_nul(value) => {
                let message = "Input should hold finite numbers, and no NUL";
                errors.add("value_error", &loc, message);
                None
            }
            Value::Object(fields) => Some(fields.clone()),
            _ => {
                errors.add("dict_type", &loc, "Input should be a valid dictionary");
                None
            }
        }
    }

    /// A field that may be absent or `null`, and else must be a string.
    pub fn optional_string(&self, name: &str, errors: &mut ValidationErrors) -> Option<&'a str> {
        match self.object.get(name)? {
            Value::Null => {}
            Value::String(text) => return Some(text),
            _ => {
                let message = "Input should be a valid string";
                errors.add("string_type", &["body", name], message);
            }
        }
        None
    }

    /// Demands that every field is a string, as a body of type `dict[str, str]`.
    pub fn all_strings(&self, errors: &mut ValidationErrors) {
        for (name, value) in self.object {
            if !value.is_string() {
                let loc = ["body", name.as_str()];
                errors.add("string_type", &loc, "Input should be a valid string");
            }
        }
    }
}

async fn receive_json(headers: &HeaderMap, body: Body, limit: usize) -> Result<RawBody, ApiError> {
    let announced = headers.get(CONTENT_LENGTH);
    let announced: Option<usize> = announced.and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(ApiError::TooLarge);
    }
    let bytes = timeout(RECEIVE, Limited::new(body, limit).collect())
        .await
        .map_err(|_| ApiError::TooSlow)?
        .map_err(|error| match error.downcast_ref::<LengthLimitError>() {
            Some(_) => ApiError::TooLarge,
            // The client went away or broke the framing: nobody will read this.
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
            Err(errors.into_error())
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
