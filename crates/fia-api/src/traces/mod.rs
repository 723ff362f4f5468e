//! Traces: the server span of each request, and the export to an OTLP collector.
//!
//! [`observe`](crate::observe) has the child spans. Nothing here runs unless a collector is
//! configured.

mod exporter;
mod request;

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::propagation::{TextMapCompositePropagator, TextMapPropagator};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::{BaggagePropagator, TraceContextPropagator};
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider,
};

use crate::config::{self, Propagator, TraceSampler};

pub use request::{RequestSpan, ServerAttributes};

/// The service name unless another is configured.
const SERVICE_NAME: &str = "fia-api";
/// The time limit of the last export at shutdown.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Traces are configured but cannot be exported.
#[derive(Debug, thiserror::Error)]
#[error("OTEL_EXPORTER_OTLP_ENDPOINT: {0}")]
pub struct TracesError(String);

/// The tracer of requests. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Traces(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    propagator: Arc<TextMapCompositePropagator>,
    excluded: Vec<String>,
}

impl Traces {
    /// Starts the export; `None` if no collector is configured, which then need not be reachable.
    /// Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// When the endpoint or the headers cannot be used.
    pub fn start(config: &config::Traces) -> Result<Option<Self>, TracesError> {
        let Some(collector) = config.collector() else {
            return Ok(None);
        };
        let batches = BatchConfigBuilder::default()
            .with_scheduled_delay(config.schedule_delay)
            .with_max_queue_size(config.max_queue)
            .with_max_export_batch_size(config.max_batch)
            .build();
        let exporter = exporter::Exporter::new(collector.clone(), config)?;
        let processor = BatchSpanProcessor::builder(exporter)
            .with_batch_config(batches)
            .build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor)
            .with_sampler(sampler(config))
            .with_resource(resource(config))
            .build();
        let scope = InstrumentationScope::builder(SERVICE_NAME)
            .with_version(env!("CARGO_PKG_VERSION"))
            .build();
        tracing::info!(collector, "exporting traces");
        Ok(Some(Self(Arc::new(Inner {
            tracer: provider.tracer_with_scope(scope),
            provider,
            propagator: Arc::new(propagator(&config.propagators)),
            excluded: config.excluded_paths().to_vec(),
        }))))
    }

    /// Exports the spans that have ended. Blocks; for tests.
    ///
    /// # Errors
    /// When the collector does not accept them.
    pub fn flush(&self) -> Result<(), TracesError> {
        let flushed = self.0.provider.force_flush();
        flushed.map_err(|error| TracesError(error.to_string()))
    }

    /// Exports the remaining spans, for at most 2 s, and ends the export.
    pub async fn close(&self) {
        let provider = self.0.provider.clone();
        let closing =
            tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(CLOSE_TIMEOUT));
        if !matches!(closing.await, Ok(Ok(()))) {
            tracing::warn!("traces not exported at shutdown: the last spans are lost");
        }
    }
}

fn sampler(config: &config::Traces) -> Sampler {
    let ratio = || Sampler::TraceIdRatioBased(config.sampler_ratio);
    let parent_based = |root| Sampler::ParentBased(Box::new(root));
    match config.sampler {
        TraceSampler::AlwaysOn => Sampler::AlwaysOn,
        TraceSampler::AlwaysOff => Sampler::AlwaysOff,
        TraceSampler::TraceIdRatio => ratio(),
        TraceSampler::ParentBasedAlwaysOn => parent_based(Sampler::AlwaysOn),
        TraceSampler::ParentBasedAlwaysOff => parent_based(Sampler::AlwaysOff),
        TraceSampler::ParentBasedTraceIdRatio => parent_based(ratio()),
    }
}

/// The attributes of this process; `OTEL_SERVICE_NAME` takes precedence over the others.
fn resource(config: &config::Traces) -> Resource {
    let attributes = config.resource.iter();
    let attributes = attributes.map(|(name, value)| KeyValue::new(name.clone(), value.clone()));
    let defaults = [
        KeyValue::new("service.name", SERVICE_NAME),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("telemetry.sdk.name", "opentelemetry"),
        KeyValue::new("telemetry.sdk.language", "rust"),
    ];
    let name = config.service_name.clone();
    let name = name.map(|name| KeyValue::new("service.name", name));
    Resource::builder_empty()
        .with_attributes(defaults.into_iter().chain(attributes).chain(name))
        .build()
}

fn propagator(chosen: &[Propagator]) -> TextMapCompositePropagator {
    let propagators = chosen.iter().map(|one| match one {
        Propagator::TraceContext => {
            Box::new(TraceContextPropagator::new()) as Box<dyn TextMapPropagator + Send + Sync>
        }
        Propagator::Baggage => Box::new(BaggagePropagator::new()),
    });
    TextMapCompositePropagator::new(propagators.collect())
}
