//! Requests whose body is not read before it is known who sent it, and why.

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use http::HeaderMap;

use crate::auth::Role;
use crate::error::ApiError;
use crate::extract::{Authed, FromInput};
use crate::state::AppState;

/// What a handler gets that reads the body itself, piece by piece: the caller in the role `C`,
/// the path and query, and what is still to come.
#[derive(Debug)]
pub struct Streamed<C, P> {
    /// Who sent the request.
    pub caller: C,
    /// The path's and query's parameters.
    pub input: P,
    /// What says of which kind the body is.
    pub headers: HeaderMap,
    /// The body, not read yet.
    pub body: Body,
}

impl<C: Role, P: FromInput> FromRequest<AppState> for Streamed<C, P> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let headers = parts.headers.clone();
        let head = Request::from_parts(parts, Body::empty());
        let call = Authed::<C, P>::from_request(head, state).await?;
        Ok(Self {
            caller: call.caller,
            input: call.input,
            headers,
            body,
        })
    }
}
