//! `/metrics`: what is counted anyway, in Prometheus' text format, on a listener of its own.
//!
//! Nothing is recorded while requests are served: the numbers are taken when they are asked for.

mod cache;
mod numbers;
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
use crate::app::server::Service;
use crate::app::traffic::Durations;

/// The media type of the text format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers `GET /metrics`, and 404 to anything else; cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    edge: Edge,
    /// Kept from one scrape to the next, so that no counter ever goes back.
    recorder: PrometheusRecorder,
}

impl Metrics {
    /// Prepares to tell of a server. May take a tenth of a second, to measure the processor's
    /// clock.
    #[must_use]
    pub fn new(edge: Edge) -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        with_local_recorder(&recorder, numbers::describe);
        Self(Arc::new(Inner { edge, recorder }))
    }

    /// The numbers now.
    fn text(&self) -> String {
        let Inner { edge, recorder } = &*self.0;
        with_local_recorder(recorder, || {
            numbers::take(edge);
            process::take();
        });
        let mut text = recorder.handle().render();
        durations(&mut text, &edge.traffic().durations());
        text
    }
}

impl Service for Metrics {
    async fn answer(self, request: Request) -> Response {
        if request.method() != Method::GET || request.uri().path() != "/metrics" {
            return StatusCode::NOT_FOUND.into_response();
        }
        let metrics = self.clone();
        // It takes milliseconds, and looks into /proc.
        match tokio::task::spawn_blocking(move || metrics.text()).await {
            Ok(text) => ([(CONTENT_TYPE, TEXT_FORMAT)], text).into_response(),
            Err(error) => {
                tracing::error!(%error, "the metrics could not be taken");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }
}

/// A histogram that was counted elsewhere: the recorder only takes single values.
fn durations(text: &mut String, durations: &Durations) {
    const NAME: &str = "fia_api_http_request_duration_seconds";
    let mut line = |what: std::fmt::Arguments<'_>| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{what}");
    };
    line(format_args!(
        "# HELP {NAME} Time until the head of an answer, from the head of its request."
    ));
    line(format_args!("# TYPE {NAME} histogram"));
    for (bound, count) in &durations.up_to {
        line(format_args!("{NAME}_bucket{{le=\"{bound}\"}} {count}"));
    }
    let count = durations.count;
    line(format_args!("{NAME}_bucket{{le=\"+Inf\"}} {count}"));
    let sum = durations.sum.as_secs_f64();
    line(format_args!("{NAME}_sum {sum}"));
    line(format_args!("{NAME}_count {count}"));
}
