//! Large bodies of programs, of which only the declared fields are kept.

use http::HeaderMap;

use crate::auth::Caller;
use crate::error::ApiError;
use crate::extract::body::{FromBody, RawBody, syntax_error};
use crate::model::input::{KnownFields, ValidationErrors};
use crate::model::json::{self, SelectedFields};
use crate::state::AppState;

/// A body that may be as large as `MAX_PROGRAM_BODY_BYTES` for callers with the API key.
///
/// Other fields than the declared ones are checked for syntax only. Each text is decoded once,
/// from the buffer that was received, and its lone surrogates are replaced: a program that sends
/// what it read from a log file would otherwise repeat a 422 forever.
#[derive(Debug)]
pub struct Selected<T>(pub T);

impl<T: KnownFields + Send> FromBody for Selected<T> {
    fn limit(state: &AppState, headers: &HeaderMap) -> usize {
        let limits = &state.limits;
        match state.authenticator.authenticate_locally(headers) {
            Some(Caller::ApiKey) => limits.max_program_body_bytes.max(limits.max_body_bytes),
            _ => limits.max_body_bytes,
        }
    }

    fn decode(text: &str) -> Result<RawBody, ApiError> {
        match json::select_fields(text, T::NAMES) {
            Ok(SelectedFields::Null) => Ok(RawBody::Empty),
            Ok(SelectedFields::Object(fields)) => Ok(RawBody::Value(fields.into())),
            Ok(SelectedFields::NoObject) => Ok(RawBody::Value(false.into())),
            Err(_) => Err(syntax_error()),
        }
    }

    fn parse(body: RawBody, errors: &mut ValidationErrors) -> Option<Self> {
        T::parse(body, errors).map(Self)
    }
}
