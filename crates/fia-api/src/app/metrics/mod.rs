//! `/metrics` in Prometheus' text format, on a listener of its own.
//!
//! Serving a request records nothing here: metrics are collected at scrape time from the counters
//! of the other modules.

mod cache;
mod catalogue;
mod process;

use std::fmt::Write as _;
use std::sync::Arc;

use ::metrics::with_local_recorder;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{Method, StatusCode};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};

use crate::app::Edge;
use crate::app::http_metrics::Durations;
use crate::app::server::Service;

/// The media type of the text format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The metrics service: `GET /metrics`, 404 for anything else; cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    edge: Edge,
    /// Kept between scrapes, so that no counter ever decreases.
    recorder: PrometheusRecorder,
}

impl Metrics {
    /// The metrics of a server. Takes about 0.1 s, in which the recorder calibrates the
    /// processor's clock.
    #[must_use]
    pub fn new(edge: Edge) -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        with_local_recorder(&recorder, catalogue::describe);
        Self(Arc::new(Inner { edge, recorder }))
    }

    /// The current metrics as text.
    fn text(&self) -> String {
        let Inner { edge, recorder } = &*self.0;
        with_local_recorder(recorder, || {
            catalogue::collect(edge);
            process::collect();
        });
        let mut text = recorder.handle().render();
        durations(&mut text, &edge.metrics().durations());
        text
    }
}

impl Service for Metrics {
    async fn handle(self, request: Request) -> Response {
        if request.method() != Method::GET || request.uri().path() != "/metrics" {
            return StatusCode::NOT_FOUND.into_response();
        }
        let metrics = self.clone();
        // Reads /proc, which blocks for milliseconds.
        match tokio::task::spawn_blocking(move || metrics.text()).await {
            Ok(text) => ([(CONTENT_TYPE, TEXT_FORMAT)], text).into_response(),
            Err(error) => {
                tracing::error!(%error, "metrics not collected: scrape fails with 500");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }
}

/// Appends the duration histogram, which the recorder cannot import: it accepts single values only.
fn durations(text: &mut String, durations: &Durations) {
    const NAME: &str = "fia_api_http_request_duration_seconds";
    let mut line = |what: std::fmt::Arguments<'_>| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{what}");
    };
    line(format_args!(
        "# HELP {NAME} Time from the head of a request to the head of its response."
    ));
    line(format_args!("# TYPE {NAME} histogram"));
    for (bound, count) in &durations.buckets {
        line(format_args!("{NAME}_bucket{{le=\"{bound}\"}} {count}"));
    }
    let count = durations.count;
    line(format_args!("{NAME}_bucket{{le=\"+Inf\"}} {count}"));
    let sum = durations.sum.as_secs_f64();
    line(format_args!("{NAME}_sum {sum}"));
    line(format_args!("{NAME}_count {count}"));
}
