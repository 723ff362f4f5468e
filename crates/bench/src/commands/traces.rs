//! The cost of traces: CPU time of the server's process for a hit in memory.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use devstack::{Api, Stack, tokens};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use super::wrk::{self, median};
use super::{cpu_time, start, ttl_settings, verdict};
use crate::Outcome;

const PATH: &str = "/instrument/MARI/latest-run";
/// A TTL in seconds beyond the end of the measurement.
const LONG_TTL: u64 = 24 * 3600;
/// The greatest CPU time of a request, relative to traces off.
const SAMPLED: f64 = 1.05;
/// The same of traces off, relative to a binary without traces.
const OFF: f64 = 1.01;

/// A server with its share of recorded requests.
struct Variant {
    name: &'static str,
    api: Api,
    /// Microseconds of CPU time for a request, by round.
    costs: Vec<f64>,
}

pub(super) async fn run(server: &Path, baseline: Option<&Path>, rounds: u32) -> Outcome {
    let stack = Stack::builder().postgres().valkey().start().await?;
    let (endpoint, spans) = collector().await?;
    let mut variants = vec![variant("off", server, &stack, Vec::new()).await?];
    for (name, ratio) in [("1 % of requests", "0.01"), ("every request", "1")] {
        let settings = vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.clone()),
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio".to_owned()),
            ("OTEL_TRACES_SAMPLER_ARG", ratio.to_owned()),
        ];
        variants.push(variant(name, server, &stack, settings).await?);
    }
    if let Some(baseline) = baseline {
        variants.push(variant("baseline", baseline, &stack, Vec::new()).await?);
    }
    for round in 0..rounds as usize {
        for i in 0..variants.len() {
            let count = variants.len();
            // Both directions, from another start each round: neighbours alternate.
            let i = if round.is_multiple_of(2) {
                i
            } else {
                count - 1 - i
            };
            variants[(i + round / 2) % count].measure().await?;
        }
    }
    report(&variants, spans.load(Ordering::Relaxed))
}

async fn variant(
    name: &'static str,
    server: &Path,
    stack: &Stack,
    mut settings: Vec<(&str, String)>,
) -> Outcome<Variant> {
    settings.extend(ttl_settings(LONG_TTL));
    let api = start(server, stack, &settings).await?;
    let mut variant = Variant {
        name,
        api,
        costs: Vec::new(),
    };
    variant.measure().await?;
    variant.costs.clear();
    Ok(variant)
}

impl Variant {
    async fn measure(&mut self) -> Outcome {
        let key = [("Authorization", format!("Bearer {}", tokens::API_KEY))];
        let url = format!("http://{}{PATH}", self.api.addr());
        let before = cpu_time(self.api.server().pid())?;
        let run = wrk::run(&url, 1, &key).await?;
        let used = cpu_time(self.api.server().pid())? - before;
        self.costs.push(used.as_secs_f64() * 1e6 / run.requests);
        Ok(())
    }

    /// The median of the ratios to another variant within a round.
    fn ratio(&self, other: &Self) -> f64 {
        let pairs = self.costs.iter().zip(&other.costs);
        median(pairs.map(|(cost, other)| cost / other).collect())
    }
}

fn report(variants: &[Variant], spans: usize) -> Outcome {
    let off = &variants[0];
    println!(
        "GET {PATH}, wrk -t1 -c32 -d1s; medians of {} rounds",
        off.costs.len()
    );
    println!("{spans} spans exported\n");
    println!("| traces | CPU a request, \u{b5}s | of traces off |");
    println!("|---|---|---|");
    for variant in variants {
        let (cost, ratio) = (median(variant.costs.clone()), variant.ratio(off));
        println!("| {} | {cost:.2} | {ratio:.3} |", variant.name);
    }
    let mut checks = vec![
        ("spans were exported", spans > 0),
        (
            "1 % sampling costs at most 5 %",
            variants[1].ratio(off) <= SAMPLED,
        ),
    ];
    if let Some(baseline) = variants.get(3) {
        checks.push(("off costs at most 1 %", off.ratio(baseline) <= OFF));
    }
    verdict(&checks)
}

/// Counts the spans that are exported to it.
#[derive(Clone, Default)]
struct Collector(Arc<AtomicUsize>);

/// Starts a collector on a free port; returns its address and its count. It ends with the program.
async fn collector() -> Outcome<(String, Arc<AtomicUsize>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = format!("http://{}", listener.local_addr()?);
    let collector = Collector::default();
    let spans = Arc::clone(&collector.0);
    let server = Server::builder().add_service(TraceServiceServer::new(collector));
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    Ok((endpoint, spans))
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let resources = request.into_inner().resource_spans;
        let scopes = resources
            .into_iter()
            .flat_map(|resource| resource.scope_spans);
        let spans = scopes.map(|scope| scope.spans.len()).sum();
        self.0.fetch_add(spans, Ordering::Relaxed);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}
