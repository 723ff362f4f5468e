//! Spans of cached reads, their loads and the commands to Valkey.

use std::any::Any;
use std::fmt::Display;
use std::pin::pin;
use std::sync::Arc;

use http::HeaderValue;
use opentelemetry::trace::SpanKind;
use opentelemetry::{Context, KeyValue};
use tiercache::{CachedValue, Failure, Observer, Scope, Source};

use crate::cached::read::Read;
use crate::observe::{
    ChildSpan, carried, current_trace, in_context, in_span, sync_with_request_id,
};

/// Reads a value as [`tiercache::Namespace::lookup`] does, in a span with the level that it came from.
pub(super) fn lookup<K, V, E, F, Fut>(
    namespace: &Read<K, V, E>,
    read: (&'static str, &K),
    load: F,
) -> impl Future<Output = Result<CachedValue<V>, Failure<Arc<E>>>> + Send
where
    K: Display + Sync + ?Sized,
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = Result<V, E>> + Send + 'static,
{
    look_up(namespace, read, true, load)
}

/// Reads a value as [`lookup`] does, and as [`tiercache::Namespace::lookup_current`]: never a stale one.
pub(super) fn lookup_current<K, V, E, F, Fut>(
    namespace: &Read<K, V, E>,
    read: (&'static str, &K),
    load: F,
) -> impl Future<Output = Result<CachedValue<V>, Failure<Arc<E>>>> + Send
where
    K: Display + Sync + ?Sized,
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = Result<V, E>> + Send + 'static,
{
    look_up(namespace, read, false, load)
}

async fn look_up<K, V, E, F, Fut>(
    namespace: &Read<K, V, E>,
    (read, key): (&'static str, &K),
    may_be_stale: bool,
    load: F,
) -> Result<CachedValue<V>, Failure<Arc<E>>>
where
    K: Display + Sync + ?Sized,
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = Result<V, E>> + Send + 'static,
{
    let span = ChildSpan::start(SpanKind::Internal, || (format!("cache {read}"), Vec::new()));
    let measure = namespace.measure(key);
    let load = move || {
        let describe = || (format!("load {read}"), Vec::new());
        measure.of(in_span(SpanKind::Internal, describe, load()))
    };
    let reading = pin!(async {
        if may_be_stale {
            namespace.lookup(key, load).await
        } else {
            namespace.lookup_current(key, load).await
        }
    });
    let found = in_context(span.as_ref().map(ChildSpan::context), reading).await;
    if let Ok(found) = &found {
        namespace.record(key, found);
    }
    if let Some(span) = span {
        match &found {
            Ok(found) => span.set(KeyValue::new("fia.cache", level(found.source))),
            Err(_) => span.fail(),
        }
    }
    found
}

fn level(source: Source) -> &'static str {
    match source {
        Source::Local => "local",
        Source::Shared => "shared",
        Source::Loaded => "miss",
        Source::Stale { .. } => "stale",
    }
}

/// Carries the trace, the log's span and the id of a request into the cache's tasks, and traces commands.
pub(super) struct RequestObserver;

impl Observer for RequestObserver {
    fn scope(&self) -> Option<Box<dyn Scope>> {
        let (span, trace, id) = (tracing::Span::current(), current_trace(), carried());
        if span.is_none() && trace.is_none() && id.is_none() {
            return None;
        }
        Some(Box::new(RequestScope { span, trace, id }))
    }

    fn command(&self, name: &'static str) -> Option<Box<dyn Any + Send + Sync>> {
        let describe = || (name, vec![KeyValue::new("db.system.name", "valkey")]);
        let span = ChildSpan::start(SpanKind::Client, describe)?;
        Some(Box::new(span))
    }
}

struct RequestScope {
    span: tracing::Span,
    trace: Option<Context>,
    /// The id of the request.
    id: Option<HeaderValue>,
}

impl Scope for RequestScope {
    fn enter(&self, poll: &mut dyn FnMut()) {
        let _current = self.trace.clone().map(Context::attach);
        sync_with_request_id(self.id.clone(), || self.span.in_scope(poll));
    }
}
