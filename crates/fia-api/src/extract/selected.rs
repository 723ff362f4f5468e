//! Large bodies of programs, of which only the declared fields are kept.

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;

use crate::auth::Caller;
use crate::error::ApiError;
use crate::extract::body::{FromBody, RawBody, is_json, syntax_error};
use crate::extract::receive;
use crate::model::input::{KnownFields, ValidationErrors};
use crate::model::json::{self, SelectedFields};
use crate::state::AppState;

/// The size in bytes from which a body is parsed on a thread for blocking work.
const LARGE: usize = 256 * 1024;

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

    async fn receive(headers: &HeaderMap, body: Body, limit: usize) -> Result<RawBody, ApiError> {
        let bytes = receive::whole(headers, body, limit).await?;
        if bytes.is_empty() {
            return Ok(RawBody::Empty);
        }
        if !is_json(headers) {
            return Ok(RawBody::NotJson);
        }
        if bytes.len() < LARGE {
            return select(&bytes, T::NAMES);
        }
        tokio::task::spawn_blocking(move || select(&bytes, T::NAMES))
            .await
            .map_err(|_| ApiError::Internal)?
    }

    fn parse(body: RawBody, errors: &mut ValidationErrors) -> Option<Self> {
        T::parse(body, errors).map(Self)
    }
}

fn select(bytes: &Bytes, names: &[&'static str]) -> Result<RawBody, ApiError> {
    let text = std::str::from_utf8(bytes).map_err(|_| ApiError::UnreadableBody)?;
    match json::select_fields(text.trim_start_matches('\u{feff}'), names) {
        Ok(SelectedFields::Null) => Ok(RawBody::Empty),
        Ok(SelectedFields::Object(fields)) => Ok(RawBody::Value(fields.into())),
        Ok(SelectedFields::NoObject) => Ok(RawBody::Value(false.into())),
        Err(_) => Err(syntax_error()),
    }
}
