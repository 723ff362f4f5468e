//! The export to the collector, and what the log says about it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use opentelemetry_otlp::tonic_types::metadata::MetadataMap;
use opentelemetry_otlp::{
    SpanExporter as OtlpExporter, WithExportConfig as _, WithTonicConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use percent_encoding::percent_decode_str;
use secrecy::ExposeSecret as _;

use crate::config;
use crate::traces::TracesError;

/// An exporter that logs when the collector becomes unavailable and when it is back.
#[derive(Debug)]
pub(super) struct Exporter {
    inner: OtlpExporter,
    is_failing: AtomicBool,
}

impl Exporter {
    pub(super) fn new(collector: String, config: &config::Traces) -> Result<Self, TracesError> {
        let headers = config.headers.as_ref();
        let headers = headers.map_or_else(
            || Ok(HeaderMap::new()),
            |text| parse_headers(text.expose_secret()),
        )?;
        let exporter = OtlpExporter::builder()
            .with_tonic()
            .with_endpoint(collector)
            .with_timeout(config.timeout)
            .with_metadata(MetadataMap::from_headers(headers))
            .build();
        Ok(Self {
            inner: exporter.map_err(|error| TracesError(error.to_string()))?,
            is_failing: AtomicBool::new(false),
        })
    }
}

impl SpanExporter for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.inner.export(batch).await;
        let failed = result.is_err();
        if self.is_failing.swap(failed, Ordering::Relaxed) != failed {
            match &result {
                Ok(()) => tracing::info!("exporting traces again"),
                Err(error) => {
                    tracing::warn!(%error, spans, "collector unavailable: spans are dropped");
                }
            }
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// Parses `name=value,…` with percent-encoded values. Errors do not quote them: they are secrets.
fn parse_headers(text: &str) -> Result<HeaderMap, TracesError> {
    let invalid = || TracesError("OTEL_EXPORTER_OTLP_HEADERS is not name=value,…".to_owned());
    let items = text.split(',').filter(|item| !item.trim().is_empty());
    let headers = items.map(|item| {
        let (name, value) = item.split_once('=')?;
        let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
        let name = HeaderName::try_from(name.trim()).ok()?;
        Some((name, HeaderValue::try_from(value.as_ref()).ok()?))
    });
    headers.collect::<Option<_>>().ok_or_else(invalid)
}
