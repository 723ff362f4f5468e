//! Child spans of the request that is being traced, and the headers that carry its trace to other
//! services.
//!
//! The trace follows the work as OpenTelemetry's current context. Without traces there is no
//! context, and starting a span is one look at a thread-local variable.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, ready};

use opentelemetry::propagation::{Injector, TextMapCompositePropagator, TextMapPropagator as _};
use opentelemetry::trace::{SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, Span};
use pin_project_lite::pin_project;

/// The tracer of a request; a value of its context.
struct RequestTracer {
    tracer: SdkTracer,
    propagator: Arc<TextMapCompositePropagator>,
}

/// The context of a request, from its server span, for the spans and headers below it.
#[must_use]
pub fn request_context(
    parent: &Context,
    span: Span,
    tracer: &SdkTracer,
    propagator: &Arc<TextMapCompositePropagator>,
) -> Context {
    parent.with_span(span).with_value(RequestTracer {
        tracer: tracer.clone(),
        propagator: Arc::clone(propagator),
    })
}

/// The current context, if the request is traced.
#[must_use]
pub fn current_trace() -> Option<Context> {
    Context::map_current(|context| context.get::<RequestTracer>().map(|_| context.clone()))
}

/// A child span; it ends when it is dropped.
#[derive(Debug)]
pub struct ChildSpan(Context);

impl ChildSpan {
    /// Starts a child of the current span. `None` unless the request is recorded; then neither
    /// the name nor the attributes are computed.
    #[must_use]
    pub fn start<N: Into<Cow<'static, str>>>(
        kind: SpanKind,
        describe: impl FnOnce() -> (N, Vec<KeyValue>),
    ) -> Option<Self> {
        Context::map_current(|parent| {
            let RequestTracer { tracer, .. } = parent.get()?;
            // Also after the end of the request, for work that it left behind.
            if !parent.span().span_context().is_sampled() {
                return None;
            }
            let (name, attributes) = describe();
            let span = tracer
                .span_builder(name)
                .with_kind(kind)
                .with_attributes(attributes)
                .start_with_context(tracer, parent);
            Some(Self(parent.with_span(span)))
        })
    }

    /// The context whose current span this is.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.0
    }

    /// Adds an attribute.
    pub fn set(&self, attribute: KeyValue) {
        self.0.span().set_attribute(attribute);
    }

    /// Marks the span as failed. The error's text is left out: it may quote values.
    pub fn fail(&self) {
        self.0.span().set_status(Status::error(""));
    }
}

impl Drop for ChildSpan {
    fn drop(&mut self) {
        self.0.span().end();
    }
}

pin_project! {
    /// Work in a child span; see [`in_span`].
    #[derive(Debug)]
    #[must_use = "a future does nothing unless awaited"]
    pub struct InSpan<F> {
        #[pin]
        work: F,
        span: Option<ChildSpan>,
    }
}

/// Runs work in a child span, which starts now; an error marks the span as failed.
///
/// A plain function, since an `async` one would hold the work twice.
pub fn in_span<F, N: Into<Cow<'static, str>>>(
    kind: SpanKind,
    describe: impl FnOnce() -> (N, Vec<KeyValue>),
    work: F,
) -> InSpan<F> {
    let span = ChildSpan::start(kind, describe);
    InSpan { work, span }
}

impl<T, E, F: Future<Output = Result<T, E>>> Future for InSpan<F> {
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, task: &mut task::Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let _current = this.span.as_ref().map(|span| span.0.clone().attach());
        let result = ready!(this.work.poll(task));
        if let (Some(span), Err(_)) = (this.span.take(), &result) {
            span.fail();
        }
        Poll::Ready(result)
    }
}

pin_project! {
    /// Work in a context; see [`in_context`].
    #[derive(Debug)]
    #[must_use = "a future does nothing unless awaited"]
    pub struct InContext<'a, F> {
        #[pin]
        work: F,
        context: Option<&'a Context>,
    }
}

/// Runs work with this context as the current one; `None` changes nothing.
pub fn in_context<F>(context: Option<&Context>, work: F) -> InContext<'_, F> {
    InContext { work, context }
}

impl<F: Future> Future for InContext<'_, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, task: &mut task::Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let _current = this.context.map(|context| context.clone().attach());
        this.work.poll(task)
    }
}

/// The recipient of a request or message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recipient {
    /// A service of the facility.
    Internal,
    /// A public service, which gets no baggage.
    Public,
}

/// The headers that carry the current trace to another service; none if the request is not traced.
#[must_use]
pub fn trace_headers(recipient: Recipient) -> Vec<(String, String)> {
    let mut headers = Headers::default();
    Context::map_current(|context| {
        if let Some(RequestTracer { propagator, .. }) = context.get() {
            match recipient {
                Recipient::Internal => propagator.inject_context(context, &mut headers),
                Recipient::Public => {
                    TraceContextPropagator::new().inject_context(context, &mut headers);
                }
            }
        }
    });
    headers.0
}

#[derive(Default)]
struct Headers(Vec<(String, String)>);

impl Injector for Headers {
    fn set(&mut self, key: &str, value: String) {
        if !value.is_empty() {
            self.0.push((key.to_owned(), value));
        }
    }
}
