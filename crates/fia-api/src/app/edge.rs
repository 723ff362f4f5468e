//! What every request passes and every answer gets, in one place instead of a stack of layers.

use std::borrow::Cow;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use futures_util::future::{Either, ready};
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tower::ServiceExt as _;
use tracing::Instrument as _;

use crate::app::access::{Line, is_probe};
use crate::app::cors::Cors;
use crate::app::path;
use crate::app::repeats::Repeats;
use crate::app::request_id::{self, RequestIds};
use crate::app::server::Service;
use crate::app::traffic::Traffic;
use crate::config::Config;
use crate::error::ApiError;
use crate::routes;
use crate::state::AppState;

/// How long an answer may take to begin. The gateway in front gives up after 15 s.
const ANSWER: Duration = Duration::from_secs(14);
/// The same for an upload, which begins when it is stored.
const UPLOAD: Duration = Duration::from_secs(600);

/// The whole server but for its sockets; cheap to clone.
#[derive(Clone)]
pub struct Edge(Arc<Inner>);

struct Inner {
    router: Router,
    cors: Cors,
    ids: RequestIds,
    repeats: Repeats,
    in_flight: Semaphore,
    max_in_flight: usize,
    traffic: Traffic,
    state: AppState,
    dev_mode: bool,
}

impl Edge {
    /// Puts the routes together.
    #[must_use]
    pub fn new(config: &Config, state: AppState) -> Self {
        Self::around(routes::router(state.clone()), config, state)
    }

    /// The same around other routes: what the edge itself costs can be measured.
    #[must_use]
    pub fn around(router: Router, config: &Config, state: AppState) -> Self {
        Self(Arc::new(Inner {
            router,
            cors: Cors::new(config.http.allowed_origins.clone()),
            ids: RequestIds::new(),
            repeats: Repeats::new(),
            in_flight: Semaphore::new(config.http.max_in_flight),
            max_in_flight: config.http.max_in_flight,
            traffic: Traffic::default(),
            state,
            dev_mode: config.dev_mode,
        }))
    }

    /// Answers a request, whatever happens: at once, where memory has the answer.
    pub fn answer(&self, request: Request) -> impl Future<Output = Response> + Send + use<> {
        let arrival = Arrival {
            line: Line::start(request.method(), request.uri()),
            id: self.0.ids.of(request.headers()),
            origin: self.0.cors.origin(request.headers()),
        };
        match self.0.repeats.answer(&request, &self.0.state.authenticator) {
            Some(response) => Either::Left(ready(self.leave(arrival, response))),
            // In a box: what is large and rarely needed is not moved about with every request.
            None => Either::Right(Box::pin(self.clone().work(request, arrival))),
        }
    }

    async fn work(self, request: Request, arrival: Arrival) -> Response {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let mut response = match self.0.cors.preflight(&method, request.headers()) {
            Some(preflight) => preflight,
            None => {
                let id = arrival.id.to_str().unwrap_or_default();
                let span = tracing::info_span!("request", id);
                self.admit(request).instrument(span).await
            }
        };
        self.0.repeats.note(&method, &uri, &mut response);
        self.leave(arrival, response)
    }

    fn leave(&self, arrival: Arrival, mut response: Response) -> Response {
        let Arrival { line, id, origin } = arrival;
        Cors::mark(response.headers_mut(), origin);
        let took = line.age();
        self.0.traffic.answered(response.status(), took);
        line.end(response.status(), took, &id);
        response.headers_mut().insert(request_id::HEADER, id);
        response
    }

    /// What the routes share.
    pub(super) fn state(&self) -> &AppState {
        &self.0.state
    }

    /// What was answered so far.
    pub(super) fn traffic(&self) -> &Traffic {
        &self.0.traffic
    }

    /// The requests under way whose answer has not begun.
    pub(super) fn in_flight(&self) -> usize {
        let free = self.0.in_flight.available_permits();
        self.0.max_in_flight.saturating_sub(free)
    }

    /// Turns requests away at once while too many are under way: those would only wait, and
    /// the ones under way with them. The probes always pass.
    async fn admit(&self, request: Request) -> Response {
        let _place = match self.0.in_flight.try_acquire() {
            Ok(place) => Some(place),
            Err(_) if is_probe(request.uri()) => None,
            Err(_) => {
                self.0.traffic.refused();
                return ApiError::Unavailable.into_response();
            }
        };
        let limit = if is_upload(&request) { UPLOAD } else { ANSWER };
        let work = AssertUnwindSafe(timeout(limit, self.route(request)));
        match work.catch_unwind().await {
            Ok(Ok(response)) => response,
            Ok(Err(_)) => ApiError::Unavailable.into_response(),
            Err(_) => {
                tracing::error!("a handler panicked");
                ApiError::Internal.into_response()
            }
        }
    }

    async fn route(&self, mut request: Request) -> Response {
        let Some(uri) = path::routed(request.uri(), self.0.dev_mode) else {
            return ApiError::Missing.into_response();
        };
        if let Cow::Owned(uri) = uri {
            *request.uri_mut() = uri;
        }
        if request.method() == Method::HEAD && !routes::serves_head(request.uri().path()) {
            *request.method_mut() = unserved();
        }
        let Ok(mut response) = self.0.router.clone().oneshot(request).await;
        if response.status() == StatusCode::METHOD_NOT_ALLOWED {
            name_first_method(&mut response);
        }
        response
    }
}

/// What is noted of a request when it comes, for when its answer leaves.
struct Arrival {
    line: Line,
    id: HeaderValue,
    origin: Option<HeaderValue>,
}

impl Service for Edge {
    fn answer(self, request: Request) -> impl Future<Output = Response> + Send {
        Edge::answer(&self, request)
    }

    fn end_streams(&self) {
        self.0.state.logs.end();
    }
}

fn is_upload(request: &Request) -> bool {
    let media_type = request.headers().get(CONTENT_TYPE);
    media_type.is_some_and(|media_type| media_type.as_bytes().starts_with(b"multipart/"))
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
