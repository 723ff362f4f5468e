//! What every request passes and every answer gets, in one place instead of a stack of layers.

use std::borrow::Cow;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use http::header::ALLOW;
use http::{HeaderValue, Method, StatusCode};
use tower::ServiceExt as _;

use crate::app::access::Line;
use crate::app::cors::Cors;
use crate::app::path;
use crate::config::Config;
use crate::error::ApiError;
use crate::routes;
use crate::state::AppState;

/// The whole server but for its sockets; cheap to clone.
#[derive(Clone)]
pub struct Edge {
    router: Router,
    state: AppState,
    cors: Arc<Cors>,
    dev_mode: bool,
}

impl Edge {
    /// Puts the routes together.
    #[must_use]
    pub fn new(config: &Config, state: AppState) -> Self {
        Self {
            router: routes::router(state.clone()),
            state,
            cors: Arc::new(Cors::new(config.http.allowed_origins.clone())),
            dev_mode: config.dev_mode,
        }
    }

    /// Answers a request, whatever happens.
    pub async fn answer(&self, request: Request) -> Response {
        let line = Line::start(request.method(), request.uri());
        let origin = self.cors.origin(request.headers());
        let mut response = match self.cors.preflight(request.method(), request.headers()) {
            Some(preflight) => preflight,
            None => self.route(request).await,
        };
        Cors::mark(response.headers_mut(), origin);
        line.end(response.status());
        response
    }

    /// Breaks off the answers that have no end.
    pub(super) fn end_streams(&self) {
        self.state.logs.end();
    }

    async fn route(&self, mut request: Request) -> Response {
        let Some(uri) = path::routed(request.uri(), self.dev_mode) else {
            return ApiError::Missing.into_response();
        };
        if let Cow::Owned(uri) = uri {
            *request.uri_mut() = uri;
        }
        if request.method() == Method::HEAD && !routes::serves_head(request.uri().path()) {
            *request.method_mut() = unserved();
        }
        let work = AssertUnwindSafe(self.router.clone().oneshot(request)).catch_unwind();
        let mut response = work
            .await
            .map(|answer: Result<Response, Infallible>| answer.into_response())
            .unwrap_or_else(|_| {
                tracing::error!("a handler panicked");
                ApiError::Internal.into_response()
            });
        if response.status() == StatusCode::METHOD_NOT_ALLOWED {
            name_first_method(&mut response);
        }
        response
    }
}

/// A method that no route has: what HEAD is treated as where it is not served.
fn unserved() -> Method {
    Method::from_bytes(b"UNSERVED").unwrap_or(Method::TRACE)
}

/// The older server names the methods of the first route that fits, and each of its routes has
/// one method.
fn name_first_method(response: &mut Response<Body>) {
    let first = response.headers().get(ALLOW).and_then(|methods| {
        let first = methods.to_str().ok()?.split(',').next()?;
        HeaderValue::from_str(first).ok()
    });
    if let Some(first) = first {
        response.headers_mut().insert(ALLOW, first);
    }
}
