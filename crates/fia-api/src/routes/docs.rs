//! The OpenAPI document, and Swagger UI served from this binary.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use http::HeaderMap;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use utoipa_swagger_ui::{Config, serve};

use crate::error::ApiError;
use crate::extract::{FromInput, Input, Unauthenticated, ValidationErrors};
use crate::routes::{HandlerResult, json};
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
    let file = serve(name, Arc::new(Config::default()))
        .ok()
        .flatten()
        .ok_or(ApiError::NoRoute)?;
    let mut headers = HeaderMap::new();
    if let Ok(media_type) = file.content_type.parse() {
        headers.insert(CONTENT_TYPE, media_type);
    }
    headers.insert(
        CACHE_CONTROL,
        http::HeaderValue::from_static("max-age=3600"),
    );
    // Not copied: 1.5 MB for each reader.
    let content = match file.bytes {
        Cow::Borrowed(content) => Bytes::from_static(content),
        Cow::Owned(content) => Bytes::from(content),
    };
    Ok((headers, content).into_response())
}
