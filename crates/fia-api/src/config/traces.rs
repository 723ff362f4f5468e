//! Settings of traces: the standard variables of OpenTelemetry.

use std::time::Duration;

use percent_encoding::percent_decode_str;
use secrecy::SecretString;

use super::kinds::Choice;
use super::macros::settings;
use super::reader::{Reader, Variable};

settings! {
    /// Traces, exported by OTLP over gRPC.
    "Traces"
    pub struct Traces {
        /// Address (host:port) or URL of the OTLP collector (gRPC); unset = no traces.
        pub endpoint: Option<String> = optional_endpoint("OTEL_EXPORTER_OTLP_ENDPOINT");
        /// The same for traces alone; it takes precedence.
        pub traces_endpoint: Option<String> = optional_endpoint("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
        /// Whether an endpoint without scheme is called without TLS.
        pub insecure: bool = flag("OTEL_EXPORTER_OTLP_INSECURE", false);
        /// Protocol of the collector.
        pub protocol: OtlpProtocol = choice("OTEL_EXPORTER_OTLP_PROTOCOL", OtlpProtocol::Grpc);
        /// Headers of export requests: name=value, separated by commas.
        pub headers: Option<SecretString> = optional_secret("OTEL_EXPORTER_OTLP_HEADERS");
        /// Timeout of an export in milliseconds.
        pub timeout: Duration = milliseconds("OTEL_EXPORTER_OTLP_TIMEOUT", 10_000);
        /// Whether traces are exported.
        pub exporter: TraceExporter = choice("OTEL_TRACES_EXPORTER", TraceExporter::Otlp);
        /// Whether traces are off, whatever the other settings.
        pub disabled: bool = flag("OTEL_SDK_DISABLED", false);
        /// Name of this service; unset = service.name of the resource attributes, or fia-api.
        pub service_name: Option<String> = optional_text("OTEL_SERVICE_NAME");
        /// Attributes of this process: name=value, separated by commas, percent-encoded.
        pub resource: Vec<(String, String)> = attributes("OTEL_RESOURCE_ATTRIBUTES");
        /// Decides which requests are recorded; the parent-based ones follow the caller's decision.
        pub sampler: TraceSampler = choice("OTEL_TRACES_SAMPLER", TraceSampler::ParentBasedAlwaysOn);
        /// Fraction of the traces that a sampler by trace id records.
        pub sampler_ratio: f64 = ratio("OTEL_TRACES_SAMPLER_ARG", 1.0);
        /// Headers that carry the trace from and to other services: tracecontext, baggage, none.
        pub propagators: Vec<Propagator> = propagators("OTEL_PROPAGATORS");
        /// Requests without a trace: texts that their path contains, separated by commas.
        pub excluded: Vec<String> = list("OTEL_PYTHON_EXCLUDED_URLS");
        /// The same, by the name that takes precedence in the Python server.
        pub excluded_by_framework: Vec<String> = list("OTEL_PYTHON_FASTAPI_EXCLUDED_URLS");
        /// Milliseconds between two exports.
        pub schedule_delay: Duration = milliseconds("OTEL_BSP_SCHEDULE_DELAY", 5000);
        /// Most spans that wait for their export; more are dropped.
        pub max_queue: usize = number("OTEL_BSP_MAX_QUEUE_SIZE", 2048);
        /// Most spans of one export.
        pub max_batch: usize = number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512);
    }
}

impl Traces {
    /// The URL of the collector; `None` if traces are off.
    #[must_use]
    pub fn collector(&self) -> Option<String> {
        if self.disabled || self.exporter == TraceExporter::None {
            return None;
        }
        let endpoint = self.traces_endpoint.as_ref().or(self.endpoint.as_ref())?;
        Some(if endpoint.contains("://") {
            endpoint.clone()
        } else if self.insecure {
            format!("http://{endpoint}")
        } else {
            format!("https://{endpoint}")
        })
    }

    /// Texts that the path of a request without a trace contains.
    #[must_use]
    pub fn excluded_paths(&self) -> &[String] {
        if self.excluded_by_framework.is_empty() {
            &self.excluded
        } else {
            &self.excluded_by_framework
        }
    }
}

/// The protocol of exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtlpProtocol {
    /// OTLP over gRPC.
    Grpc,
}

impl Choice for OtlpProtocol {
    const WORDS: &'static [(&'static str, Self)] = &[("grpc", Self::Grpc)];
}

/// The exporter of traces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceExporter {
    /// To an OTLP collector.
    Otlp,
    /// None: traces are off.
    None,
}

impl Choice for TraceExporter {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("otlp", Self::Otlp),
        ("otlp_proto_grpc", Self::Otlp),
        ("none", Self::None),
    ];
}

/// The sampler, which decides whether a request is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceSampler {
    /// Every request.
    AlwaysOn,
    /// No request.
    AlwaysOff,
    /// A fraction of the trace ids.
    TraceIdRatio,
    /// As the caller decided; otherwise every request.
    ParentBasedAlwaysOn,
    /// As the caller decided; otherwise none.
    ParentBasedAlwaysOff,
    /// As the caller decided; otherwise a fraction.
    ParentBasedTraceIdRatio,
}

impl Choice for TraceSampler {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("always_on", Self::AlwaysOn),
        ("always_off", Self::AlwaysOff),
        ("traceidratio", Self::TraceIdRatio),
        ("parentbased_always_on", Self::ParentBasedAlwaysOn),
        ("parentbased_always_off", Self::ParentBasedAlwaysOff),
        ("parentbased_traceidratio", Self::ParentBasedTraceIdRatio),
    ];
}

/// The headers that carry a trace between services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagator {
    /// `traceparent` and `tracestate`.
    TraceContext,
    /// `baggage`.
    Baggage,
}

impl Propagator {
    const WORDS: [(&'static str, Option<Self>); 3] = [
        ("tracecontext", Some(Self::TraceContext)),
        ("baggage", Some(Self::Baggage)),
        ("none", None),
    ];
}

impl Reader<'_> {
    fn milliseconds(&mut self, variable: Variable, default: u64) -> Duration {
        Duration::from_millis(self.number(variable, default))
    }

    fn optional_text(&mut self, variable: Variable) -> Option<String> {
        self.optional(variable, String::clone, |text| Ok(text.to_owned()))
    }

    fn ratio(&mut self, variable: Variable, default: f64) -> f64 {
        let range = "0 to 1".to_owned();
        self.value(variable, default, range, f64::to_string, |text| {
            let ratio = text.trim().parse().ok();
            ratio
                .filter(|ratio| (0.0..=1.0).contains(ratio))
                .ok_or_else(|| format!("`{text}` is not a number from 0 to 1"))
        })
    }

    /// `host:port`, `http://…` or `https://…`.
    fn optional_endpoint(&mut self, variable: Variable) -> Option<String> {
        self.optional(variable, String::clone, |text| {
            let text = text.trim();
            let url = if text.contains("://") {
                text.to_owned()
            } else {
                format!("http://{text}")
            };
            match reqwest::Url::parse(&url) {
                Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
                    Ok(text.to_owned())
                }
                _ => Err(format!("`{text}` is neither host:port nor an http URL")),
            }
        })
    }

    /// `name=value` pairs separated by commas; values are percent-encoded.
    fn attributes(&mut self, variable: Variable) -> Vec<(String, String)> {
        let show = |pairs: &Vec<(String, String)>| {
            let pairs: Vec<String> = pairs.iter().map(|(k, v)| format!("{k}={v}")).collect();
            pairs.join(",")
        };
        let pairs = self.optional(variable, show, |text| {
            let items = text.split(',').filter(|item| !item.trim().is_empty());
            items.map(parse_attribute).collect()
        });
        pairs.unwrap_or_default()
    }

    fn propagators(&mut self, variable: Variable) -> Vec<Propagator> {
        let default = vec![Propagator::TraceContext, Propagator::Baggage];
        let show = |chosen: &Vec<Propagator>| {
            let words = Propagator::WORDS.into_iter();
            let words = words.filter(|(_, one)| one.is_some_and(|one| chosen.contains(&one)));
            let words: Vec<&str> = words.map(|(word, _)| word).collect();
            words.join(",")
        };
        let range = "tracecontext, baggage, none".to_owned();
        self.value(variable, default, range, show, |text| {
            let items = text
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty());
            let found = items.map(|item| {
                let mut words = Propagator::WORDS.into_iter();
                let found = words.find(|(word, _)| *word == item);
                found
                    .map(|(_, propagator)| propagator)
                    .ok_or_else(|| format!("`{item}` is none of tracecontext, baggage, none"))
            });
            let found: Vec<Option<Propagator>> = found.collect::<Result<_, _>>()?;
            Ok(found.into_iter().flatten().collect())
        })
    }
}

fn parse_attribute(item: &str) -> Result<(String, String), String> {
    let (name, value) = item
        .split_once('=')
        .ok_or_else(|| format!("`{item}` is not name=value"))?;
    let value = percent_decode_str(value.trim()).decode_utf8_lossy();
    Ok((name.trim().to_owned(), value.into_owned()))
}
