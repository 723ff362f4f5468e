//! The OpenAPI document, and Swagger UI served from this binary.

use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};

use crate::error::ApiError;
use crate::extract::{FromInput, Input, Unauthenticated, ValidationErrors};
use crate::routes::{HandlerResult, json, swagger_ui};
use crate::state::AppState;

/// Its links are relative, so that the page works under any prefix.
const PAGE: &str = include_str!("docs.html");

/// `GET /openapi.json`
pub(super) async fn openapi(State(state): State<AppState>) -> Response {
    json(state.openapi.clone())
}

/// `GET /docs` and `GET /redoc`
pub(super) async fn swagger_ui() -> Html<&'static str> {
    Html(PAGE)
}

/// `GET /docs/oauth2-redirect`
pub(super) async fn oauth2_redirect() -> HandlerResult {
    vendored("oauth2-redirect.html")
}

/// `GET /docs/{asset}`: a script, style or image of the page.
pub(super) async fn asset(Unauthenticated(Asset(name)): Unauthenticated<Asset>) -> HandlerResult {
    vendored(&name)
}

/// The path parameter `{asset}`.
pub(super) struct Asset(String);

impl FromInput for Asset {
    fn parse(input: &Input, _: &mut ValidationErrors) -> Option<Self> {
        Some(Self(input.path("asset").to_owned()))
    }
}

fn vendored(name: &str) -> HandlerResult {
    let (media_type, content) = swagger_ui::file(name).ok_or(ApiError::NoRoute)?;
    let headers = [(CONTENT_TYPE, media_type), (CACHE_CONTROL, "max-age=3600")];
    Ok((headers, content).into_response())
}
