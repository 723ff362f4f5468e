//! Requests whose body is received by the handler, after authentication and validation.

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use http::HeaderMap;

use crate::auth::{Caller, Role};
use crate::error::ApiError;
use crate::extract::receive;
use crate::extract::{Authed, FromInput};
use crate::state::AppState;

/// An authenticated request whose handler receives the body in chunks: the caller in the role `C`,
/// the path and query, and the body.
#[derive(Debug)]
pub struct Streamed<C, P> {
    /// The caller.
    pub caller: C,
    /// The parameters of the path and the query.
    pub input: P,
    /// The headers of the request.
    pub headers: HeaderMap,
    /// The body, not received yet.
    pub body: Body,
}

impl<C: Role, P: FromInput> FromRequest<AppState> for Streamed<C, P> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let headers = parts.headers.clone();
        let extensions = parts.extensions.clone();
        let head = Request::from_parts(parts, Body::empty());
        let call = Authed::<Caller, P>::from_request(head, state).await?;
        let caller = C::of(call.caller)?;
        let body = receive::streamed(&extensions, body, call.caller, state)?;
        Ok(Self {
            caller,
            input: call.input,
            headers,
            body,
        })
    }
}
