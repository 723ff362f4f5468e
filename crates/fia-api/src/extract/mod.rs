//! Extractors: the arguments of handlers, in the order of checks that clients rely on: JSON
//! syntax of the body, presence of a bearer token, its validity, validation of path, query and
//! body with all errors together, and the role of the caller last.
//!
//! The framework's own extractors reject in another order and with other bodies, so none is
//! used for input.

mod body;
mod discard;
mod form;
mod input;
mod parameters;
mod query;
mod receive;
mod selected;
mod streamed;

pub use crate::model::input::ValidationErrors;
pub use body::{FromBody, Json, RawBody};
pub use form::{Form, FormFile, missing_file};
pub use input::{FromInput, Input};
pub use query::Query;
pub use selected::Selected;
pub use streamed::Streamed;

use axum::extract::{FromRequest, Request};

use crate::admission::ClientAddress;
use crate::auth::{Caller, CallerSlot, Role};
use crate::error::ApiError;
use crate::state::AppState;
use receive::Transfer;

/// An authenticated request: the caller in the role `C`, the path and query, the body.
#[derive(Debug)]
pub struct Authed<C, P, B = ()> {
    /// The caller.
    pub caller: C,
    /// The parameters of the path and the query.
    pub input: P,
    /// The body.
    pub body: B,
}

/// A request that needs a token only if `REQUIRE_AUTH_COUNTS` is on.
#[derive(Debug)]
pub struct OptionalAuth<P> {
    /// The caller, if a token is required.
    pub caller: Option<Caller>,
    /// The parameters of the path and the query.
    pub input: P,
}

/// A request that needs no token: its path and query.
#[derive(Debug)]
pub struct Unauthenticated<P>(pub P);

impl<C: Role, P: FromInput, B: FromBody> FromRequest<AppState> for Authed<C, P, B> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let (mut parts, body) = request.into_parts();
        let limit = B::limit(state, &parts.headers);
        // Known first, so that the body of a stranger is not kept; reported after invalid JSON.
        let known = state.authenticator.authenticate(&parts.headers).await;
        if let (Ok(caller), Some(slot)) = (&known, parts.extensions.get::<CallerSlot>()) {
            slot.set(*caller);
        }
        let (caller, body) = match known {
            Ok(caller) if !B::IS_READ => (caller, RawBody::Unread),
            Ok(caller) => {
                let transfer = Transfer::begin(&parts, body, limit, Some(caller), state)?;
                let bytes = transfer.whole().await?;
                let body = body::decode::<B>(&parts.headers, bytes).await?;
                B::check_limits(&body, state)?;
                (caller, body)
            }
            Err(error) => {
                if B::IS_READ {
                    let transfer = Transfer::begin(&parts, body, limit, None, state)?;
                    discard::discard(&parts.headers, transfer).await?;
                }
                return Err(error);
            }
        };
        let mut errors = ValidationErrors::default();
        let input = P::parse(&Input::of(&mut parts, state).await, &mut errors);
        let body = B::parse(body, &mut errors);
        match (input, body) {
            (Some(input), Some(body)) if errors.is_empty() => Ok(Self {
                caller: C::of(caller)?,
                input,
                body,
            }),
            _ => Err(errors.into()),
        }
    }
}

impl<P: FromInput> FromRequest<AppState> for OptionalAuth<P> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        if state.require_auth_counts {
            let call = Authed::<Caller, P>::from_request(request, state).await?;
            return Ok(Self {
                caller: Some(call.caller),
                input: call.input,
            });
        }
        let Unauthenticated(input) = Unauthenticated::from_request(request, state).await?;
        Ok(Self {
            caller: None,
            input,
        })
    }
}

impl<P: FromInput> FromRequest<AppState> for Unauthenticated<P> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let (mut parts, _) = request.into_parts();
        let client = parts.extensions.get::<ClientAddress>().copied();
        state.admission.open_routes.check(client)?;
        let mut errors = ValidationErrors::default();
        match P::parse(&Input::of(&mut parts, state).await, &mut errors) {
            Some(input) if errors.is_empty() => Ok(Self(input)),
            _ => Err(errors.into()),
        }
    }
}
