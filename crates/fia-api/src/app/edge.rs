//! Cross-cutting request handling in one type instead of a stack of layers: fast path, CORS,
//! admission, timeout, panic handling, request id, access log and metrics.

use std::borrow::Cow;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use futures_util::future::{Either, ready};
use http::header::ALLOW;
use http::{HeaderName, HeaderValue, Method, StatusCode, Uri};
use ipnet::IpNet;
use tokio::time::timeout;
use tower::ServiceExt as _;
use tracing::Instrument as _;
use tracing::field::display;

use crate::admission::ClientAddress;
use crate::app::access_log::{AccessLogEntry, is_probe};
use crate::app::arrival::Arrival;
use crate::app::client_address::client_address;
use crate::app::compression;
use crate::app::cors::Cors;
use crate::app::facts::Facts;
use crate::app::http_metrics::{HttpMetrics, Series, SeriesLabels};
use crate::app::path;
use crate::app::request_id::{self, RequestIds};
use crate::app::response_index::ResponseIndex;
use crate::app::server::Service;
use crate::app::time_limit::time_limit;
use crate::auth::CallerSlot;
use crate::config::Config;
use crate::error::ApiError;
use crate::model::encoding::Encoding;
use crate::observe::{in_context, with_request_id};
use crate::routes;
use crate::routes::{CacheResult, RouteId, RouteMatcher};
use crate::state::AppState;
use crate::traces::RequestSpan;

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// The whole server except its sockets; cheap to clone.
#[derive(Clone)]
pub struct Edge {
    inner: Arc<Inner>,
    /// The peer of the connection; `None` outside of one.
    peer: Option<IpAddr>,
}

struct Inner {
    router: Router,
    routes: RouteMatcher,
    trusted_proxies: Vec<IpNet>,
    cors: Cors,
    ids: RequestIds,
    index: ResponseIndex,
    metrics: HttpMetrics,
    state: AppState,
    dev_mode: bool,
    /// Whether responses carry `Server-Timing`: at `LOG_LEVEL=debug` and below.
    shows_timing: bool,
}

impl Edge {
    /// The edge around the API's routes.
    #[must_use]
    pub fn new(config: &Config, state: AppState) -> Self {
        Self::around(routes::router(state.clone()), config, state)
    }

    /// The edge around other routes, for benchmarks of the edge itself.
    #[must_use]
    pub fn around(router: Router, config: &Config, state: AppState) -> Self {
        let routes = RouteMatcher::new();
        let inner = Inner {
            router,
            trusted_proxies: config.http.trusted_proxies.clone(),
            cors: Cors::new(config.http.allowed_origins.clone()),
            ids: RequestIds::new(),
            index: ResponseIndex::new(),
            metrics: HttpMetrics::new(&routes),
            routes,
            state,
            dev_mode: config.server.dev_mode,
            shows_timing: config.log.level >= tracing::Level::DEBUG,
        };
        Self {
            inner: Arc::new(inner),
            peer: None,
        }
    }

    /// Handles a request; never fails. A hit in the response index is ready immediately.
    pub fn handle(&self, request: Request) -> impl Future<Output = Response> + Send + use<> {
        let proxies = &self.inner.trusted_proxies;
        let client = self
            .peer
            .map(|peer| client_address(peer, request.headers(), proxies));
        let traces = self.inner.state.traces.as_ref();
        let span = traces.and_then(|traces| traces.begin(&request));
        let trace_id = span.as_ref().map(RequestSpan::trace_id);
        let arrival = Arrival {
            entry: AccessLogEntry::start(request.method(), request.uri(), client),
            id: self.inner.ids.of(request.headers(), trace_id),
            origin: self.inner.cors.origin(request.headers()),
            span,
        };
        match self.inner.index.respond(&request, &self.inner.state) {
            Some((response, facts)) => Either::Left(ready(self.finish(arrival, facts, response))),
            // Boxed, so that the fast path does not move this large future.
            None => Either::Right(Box::pin(self.clone().process(request, arrival))),
        }
    }

    async fn process(self, mut request: Request, mut arrival: Arrival) -> Response {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        if let Some(address) = arrival.entry.client() {
            request.extensions_mut().insert(ClientAddress(address));
        }
        let caller = CallerSlot::default();
        request.extensions_mut().insert(caller.clone());
        let route = self.route_id(&uri);
        let mut response = match self.inner.cors.preflight(&method, request.headers()) {
            Some(preflight) => preflight,
            None => {
                let context = arrival.span.as_mut().and_then(RequestSpan::share);
                let request_id = arrival.id.to_str().unwrap_or_default();
                let trace_id = arrival.trace_id().map(display);
                // At the most severe level, so that every line of the request has its id.
                let span = tracing::error_span!("request", request_id, trace_id);
                let encoding = Encoding::negotiate(request.headers());
                // Pinned here: the layers around it would move a large future.
                let work = pin!(self.admit(request));
                let work = with_request_id(arrival.id.clone(), work).instrument(span);
                let response = in_context(context.as_ref(), work).await;
                compression::compress(encoding, response).await
            }
        };
        self.inner.index.insert(&method, &uri, route, &mut response);
        let cache = response.extensions().get().copied();
        let facts = Facts {
            route,
            cache: cache.unwrap_or(CacheResult::None),
            caller: caller.get(),
        };
        self.finish(arrival, facts, response)
    }

    fn finish(&self, arrival: Arrival, facts: Facts, mut response: Response) -> Response {
        let trace_id = arrival.trace_id();
        let Arrival {
            entry,
            id,
            origin,
            span,
        } = arrival;
        Cors::mark(response.headers_mut(), origin);
        let elapsed = entry.elapsed();
        let series = Series::of(facts.route, entry.method(), facts.cache);
        self.inner
            .metrics
            .record(series, response.status(), elapsed);
        let template = self.inner.routes.template(facts.route);
        if let Some(span) = span {
            span.finish(&entry.attributes(&response, facts, template, &id));
        }
        entry.finish(&response, facts, template, elapsed, &id, trace_id);
        let headers = response.headers_mut();
        if self.inner.shows_timing {
            headers.insert(SERVER_TIMING, server_timing(elapsed));
        }
        headers.insert(request_id::HEADER, id);
        response
    }

    /// The services behind the routes.
    pub(crate) fn state(&self) -> &AppState {
        &self.inner.state
    }

    /// The responses by route and status code, those that occurred.
    pub(crate) fn response_counts(&self) -> Vec<(&'static str, &'static str, u64)> {
        let responses = self.inner.metrics.responses();
        let count = |(labels, code, count): (SeriesLabels, _, _)| (labels.route, code, count);
        responses.map(count).collect()
    }

    /// The request counters.
    pub(super) fn metrics(&self) -> &HttpMetrics {
        &self.inner.metrics
    }

    /// The route of a request, also of one that is refused before routing.
    fn route_id(&self, uri: &Uri) -> RouteId {
        let routes = &self.inner.routes;
        let routed = path::routed(uri, self.inner.dev_mode);
        let route = routed.and_then(|routed| routes.find(routed.path()));
        route.unwrap_or(routes.unmatched())
    }

    /// Refuses a request at once while too many are in flight: queueing it would only slow down
    /// the others. Probes are always admitted.
    async fn admit(&self, mut request: Request) -> Response {
        // Dropped with the request.
        let _permit = match self.inner.state.admission.in_flight.acquire() {
            Ok(permit) => {
                request.extensions_mut().insert(permit.clone());
                Some(permit)
            }
            Err(_) if is_probe(request.uri()) => None,
            Err(error) => return error.into_response(),
        };
        let limit = time_limit(&request);
        let work = pin!(self.route(request));
        let work = AssertUnwindSafe(timeout(limit, work));
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
        let Some(uri) = path::routed(request.uri(), self.inner.dev_mode) else {
            return ApiError::Missing.into_response();
        };
        if let Cow::Owned(uri) = uri {
            *request.uri_mut() = uri;
        }
        if request.method() == Method::HEAD && !routes::serves_head(request.uri().path()) {
            *request.method_mut() = unsupported_method();
        }
        let Ok(mut response) = self.inner.router.clone().oneshot(request).await;
        if response.status() == StatusCode::METHOD_NOT_ALLOWED {
            keep_first_method(&mut response);
        }
        response
    }
}

impl Service for Edge {
    fn for_peer(self, peer: IpAddr) -> Self {
        Self {
            peer: Some(peer),
            ..self
        }
    }

    fn handle(self, request: Request) -> impl Future<Output = Response> + Send {
        Edge::handle(&self, request)
    }

    fn begin_drain(&self) {
        self.inner.state.readiness.begin_drain();
    }

    fn end_streams(&self) {
        self.inner.state.logs.end();
    }
}

/// A method that no route has: HEAD is routed as this where it is not served.
fn unsupported_method() -> Method {
    Method::from_bytes(b"UNSERVED").unwrap_or(Method::TRACE)
}

/// Reduces `Allow` to its first method: each route of the older server has one method, and its
/// 405 lists that of the first route with the path.
fn keep_first_method(response: &mut Response<Body>) {
    let first = response.headers().get(ALLOW).and_then(|methods| {
        let first = methods.to_str().ok()?.split(',').next()?;
        HeaderValue::from_str(first).ok()
    });
    if let Some(first) = first {
        response.headers_mut().insert(ALLOW, first);
    }
}

/// The time until the response began, in milliseconds, as browsers' tools show it.
fn server_timing(elapsed: Duration) -> HeaderValue {
    let text = format!("total;dur={:.3}", elapsed.as_secs_f64() * 1e3);
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("total"))
}
