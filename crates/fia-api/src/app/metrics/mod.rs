//! `/metrics` in Prometheus' text format, on a listener of its own.
//!
//! Serving a request records nothing here: metrics are collected at scrape time from the counters
//! of the other modules.

mod cache;
mod catalogue;
mod dependencies;
mod family;
mod histograms;
mod process;
mod requests;

use std::sync::Arc;

use ::metrics::with_local_recorder;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{Method, StatusCode};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};

use crate::app::Edge;
use crate::app::metrics::family::Family;
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
        with_local_recorder(&recorder, || {
            catalogue::families().iter().for_each(Family::describe);
        });
        Self(Arc::new(Inner { edge, recorder }))
    }

    /// The current metrics as text.
    fn text(&self) -> String {
        let Inner { edge, recorder } = &*self.0;
        with_local_recorder(recorder, || catalogue::collect(edge));
        let mut text = recorder.handle().render();
        catalogue::write_histograms(&mut text, edge);
        text
    }

    /// The catalogue of all metrics as a table in Markdown.
    #[must_use]
    pub fn reference() -> String {
        family::markdown(&catalogue::families())
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
