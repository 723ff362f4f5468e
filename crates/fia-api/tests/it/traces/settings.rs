//! The standard variables: when traces are on, and what is recorded.

use http::Method;

use crate::harness::otlp::Collector;
use crate::harness::{Replica, Vars, config, vars};
use crate::traces::{deployed, flush, traced};

fn collector_of(settings: &[(&str, &str)]) -> Option<String> {
    config(&[&vars(settings)]).traces.collector()
}

#[test]
fn an_endpoint_switches_traces_on_and_its_scheme_follows_from_insecure() {
    const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    for (settings, collector) in [
        (&[][..], None),
        (&[("OTEL_TRACES_SAMPLER", "always_on")], None),
        (&[(ENDPOINT, "alloy:4317")], Some("https://alloy:4317")),
        (
            &[
                (ENDPOINT, "alloy:4317"),
                ("OTEL_EXPORTER_OTLP_INSECURE", "true"),
            ],
            Some("http://alloy:4317"),
        ),
        (
            &[(ENDPOINT, "http://alloy:4317")],
            Some("http://alloy:4317"),
        ),
        (
            &[(ENDPOINT, "alloy:4317"), ("OTEL_TRACES_EXPORTER", "none")],
            None,
        ),
        (
            &[(ENDPOINT, "alloy:4317"), ("OTEL_SDK_DISABLED", "true")],
            None,
        ),
        (
            &[
                (ENDPOINT, "http://other:4317"),
                ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://alloy:4317"),
            ],
            Some("http://alloy:4317"),
        ),
    ] {
        assert_eq!(collector_of(settings).as_deref(), collector, "{settings:?}");
    }
}

fn replica(collector: &Collector, more: &[(&str, &str)]) -> Replica {
    let settings: Vars = deployed(collector);
    Replica::new(&[&settings, &vars(more)])
}

#[tokio::test]
async fn probes_are_excluded_and_the_resource_is_named() {
    let collector = Collector::start().await;
    let replica = replica(&collector, &[]);
    let probe = replica.get("/api/healthz", "none").await;
    assert_eq!(probe.header("x-request-id").len(), "00000000-1".len());
    let unknown = replica.get("/nothing", "none").await;
    assert_eq!(unknown.header("x-request-id").len(), 32);
    flush(&replica).await;
    let spans = collector.spans();
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["GET"]);
    for (name, value) in [("service.name", "FIA-API"), ("service.namespace", "fia")] {
        assert_eq!(collector.resource(name).as_deref(), Some(value));
    }
}

#[tokio::test]
async fn samplers_follow_the_ratio_or_the_caller() {
    for (sampler, ratio, own, callers) in [
        ("always_off", "1", false, false),
        ("traceidratio", "0", false, false),
        ("traceidratio", "1", true, true),
        ("parentbased_traceidratio", "0", false, true),
        ("parentbased_always_off", "1", false, true),
        ("parentbased_always_on", "0", true, true),
    ] {
        let collector = Collector::start().await;
        let settings = [
            ("OTEL_TRACES_SAMPLER", sampler),
            ("OTEL_TRACES_SAMPLER_ARG", ratio),
        ];
        let replica = replica(&collector, &settings);
        let id = replica.get("/own", "none").await;
        // An id of the trace, recorded or not.
        assert_eq!(id.header("x-request-id").len(), 32);
        replica.send(traced(Method::GET, "/callers", "none")).await;
        flush(&replica).await;
        let spans = collector.spans();
        let recorded = |path: &str| format!("{spans:?}").contains(path);
        assert_eq!(recorded("/own"), own, "{sampler} {ratio}");
        assert_eq!(recorded("/callers"), callers, "{sampler} {ratio}");
    }
}

/// A collector that is unreachable delays nothing.
#[tokio::test]
async fn an_unreachable_collector_does_not_affect_requests() {
    let settings = vars(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")]);
    let replica = Replica::new(&[&settings]);
    let response = replica.get("/healthz", "none").await;
    assert_eq!(response.status, 200);
    let traces = replica.state.traces.clone().unwrap();
    let flushed = tokio::task::spawn_blocking(move || traces.flush());
    assert!(flushed.await.unwrap().is_err());
}
