//! Traces, as a collector receives them.

mod propagation;
mod settings;
mod trees;

use http::{Method, Request};
use opentelemetry_proto::tonic::trace::v1::Span;

use crate::harness::otlp::{Collector, attribute};
use crate::harness::{Replica, Vars, request, vars};

/// The trace of a caller, sampled.
const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// The settings of the existing deployment, with this collector.
fn deployed(collector: &Collector) -> Vars {
    vars(&[
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            &collector.address.to_string(),
        ),
        ("OTEL_EXPORTER_OTLP_INSECURE", "true"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_SERVICE_NAME", "FIA-API"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.namespace=fia"),
        ("OTEL_TRACES_SAMPLER", "always_on"),
        ("OTEL_PROPAGATORS", "tracecontext,baggage"),
        ("OTEL_PYTHON_FASTAPI_EXCLUDED_URLS", "/healthz,/ready"),
    ])
}

/// A request of a traced caller.
fn traced(method: Method, path: &str, who: &str) -> Request<axum::body::Body> {
    let mut request = request(method, path, who, None);
    let traceparent = format!("00-{TRACE_ID}-{CALLER}-01");
    request
        .headers_mut()
        .insert("traceparent", traceparent.parse().unwrap());
    request
}

/// Exports the spans that have ended.
async fn flush(replica: &Replica) {
    let traces = replica.state.traces.clone().unwrap();
    let flushed = tokio::task::spawn_blocking(move || traces.flush().unwrap());
    flushed.await.unwrap();
}

/// A span's name, with the level of the cache where it has one.
fn label(span: &Span) -> String {
    match attribute(&span.attributes, "fia.cache") {
        Some(cache) => format!("{} ({cache})", span.name),
        None => span.name.clone(),
    }
}

/// The spans below `parent`, indented; siblings in the order of their start.
fn tree(spans: &[Span], parent: &[u8], depth: usize) -> Vec<String> {
    let children = spans.iter().filter(|span| span.parent_span_id == parent);
    children
        .flat_map(|span| {
            let line = format!("{}{}", "  ".repeat(depth), label(span));
            std::iter::once(line).chain(tree(spans, &span.span_id, depth + 1))
        })
        .collect()
}

/// The tree of the only trace whose server span has this name.
fn tree_of(spans: &[Span], server: &str) -> Vec<String> {
    let root = spans
        .iter()
        .find(|span| span.name == server)
        .unwrap_or_else(|| panic!("no span {server}: {spans:?}"));
    let trace: Vec<Span> = spans
        .iter()
        .filter(|span| span.trace_id == root.trace_id)
        .cloned()
        .collect();
    tree(&trace, &root.parent_span_id, 0)
}
