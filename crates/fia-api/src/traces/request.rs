//! The server span of a request.

use std::net::IpAddr;

use http::{HeaderMap, Method, Request, StatusCode};
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::{
    Span as _, SpanContext, SpanKind, Status, TraceContextExt as _, TraceId, Tracer as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::Span;

use crate::observe::request_context;
use crate::traces::{Inner, Traces};

/// The headers of which one is present if the caller takes part in a trace.
const PROPAGATED: [&str; 2] = ["traceparent", "baggage"];

/// The server span of a request in flight.
#[derive(Debug)]
pub struct RequestSpan {
    traces: Traces,
    parent: Context,
    /// Until it is shared: a request on the fast path needs no context.
    span: Option<Span>,
    shared: Option<Context>,
}

/// What is known about a request at its end.
#[derive(Debug, Clone, Copy)]
pub struct ServerAttributes<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path as sent.
    pub path: &'a str,
    /// The template of the path.
    pub route: Option<&'static str>,
    /// The status of the response.
    pub status: StatusCode,
    /// The part of the cache in the response.
    pub cache: &'static str,
    /// The kind of the caller.
    pub caller: &'static str,
    /// The address of the client.
    pub client: Option<IpAddr>,
    /// The id of the request.
    pub request_id: &'a str,
}

impl Traces {
    /// Starts the server span of a request, as a child of the caller's span if it names one. `None`
    /// for an excluded path.
    #[must_use]
    pub fn begin<B>(&self, request: &Request<B>) -> Option<RequestSpan> {
        let path = request.uri().path();
        if self
            .0
            .excluded
            .iter()
            .any(|text| path.contains(text.as_str()))
        {
            return None;
        }
        let headers = request.headers();
        let parent = if PROPAGATED.iter().any(|name| headers.contains_key(*name)) {
            self.0
                .propagator
                .extract_with_context(&Context::new(), &Headers(headers))
        } else {
            Context::new()
        };
        let span = self
            .0
            .tracer
            .span_builder("HTTP")
            .with_kind(SpanKind::Server)
            .start_with_context(&self.0.tracer, &parent);
        // Invalid after the end of the export.
        span.span_context().is_valid().then_some(())?;
        Some(RequestSpan {
            traces: self.clone(),
            parent,
            span: Some(span),
            shared: None,
        })
    }
}

impl RequestSpan {
    /// The id of the trace, also of one that is not recorded.
    #[must_use]
    pub fn trace_id(&self) -> TraceId {
        self.span_context(|context| Some(context.trace_id()))
            .unwrap_or(TraceId::INVALID)
    }

    /// Makes the span the parent of further spans, and returns their context.
    pub fn share(&mut self) -> Option<Context> {
        if let Some(span) = self.span.take() {
            let Inner {
                tracer, propagator, ..
            } = &*self.traces.0;
            self.shared = Some(request_context(&self.parent, span, tracer, propagator));
        }
        self.shared.clone()
    }

    /// Ends the span.
    pub fn finish(mut self, end: &ServerAttributes<'_>) {
        if !self.span_context(SpanContext::is_sampled) {
            return;
        }
        if let Some(context) = self.share() {
            let span = context.span();
            span.update_name(end.name());
            span.set_attributes(end.attributes());
            span.set_status(end.status());
            span.end();
        }
    }

    fn span_context<T: Default>(&self, read: impl FnOnce(&SpanContext) -> T) -> T {
        match (&self.span, &self.shared) {
            (Some(span), _) => read(span.span_context()),
            (None, Some(context)) => read(context.span().span_context()),
            (None, None) => T::default(),
        }
    }
}

impl ServerAttributes<'_> {
    fn name(&self) -> String {
        match self.route {
            Some(route) => format!("{} {route}", self.method),
            None => self.method.to_string(),
        }
    }

    fn status(&self) -> Status {
        if self.status.is_server_error() {
            Status::error("")
        } else {
            Status::Unset
        }
    }

    /// The names of the semantic conventions, where there is one.
    fn attributes(&self) -> Vec<KeyValue> {
        let mut attributes = vec![
            KeyValue::new("http.request.method", self.method.to_string()),
            KeyValue::new("url.path", self.path.to_owned()),
            KeyValue::new("url.scheme", "http"),
            KeyValue::new("http.response.status_code", i64::from(self.status.as_u16())),
            KeyValue::new("fia.cache", self.cache),
            KeyValue::new("fia.caller", self.caller),
            KeyValue::new("fia.request_id", self.request_id.to_owned()),
        ];
        attributes.extend(self.route.map(|route| KeyValue::new("http.route", route)));
        let client = self.client.map(|client| client.to_string());
        attributes.extend(client.map(|client| KeyValue::new("client.address", client)));
        attributes
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}
