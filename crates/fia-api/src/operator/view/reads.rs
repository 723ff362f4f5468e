//! The cached reads: a row each, from the same counters as `/metrics`.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tiercache::NamespaceStats;

use crate::app::Edge;
use crate::cached::ReadFacts;
use crate::observe::{BOUNDS, Snapshot};
use crate::operator::history::{History, Rates};

/// A cached read since the start of the process.
#[derive(Debug, Serialize)]
pub(in crate::operator) struct ReadRow {
    /// The name, as in the label `class` of metrics.
    pub(in crate::operator) name: &'static str,
    /// The pattern of its keys in Valkey.
    pub(in crate::operator) pattern: String,
    pub(in crate::operator) is_shared: bool,
    pub(in crate::operator) ttl_seconds: u64,
    pub(in crate::operator) requests: u64,
    pub(in crate::operator) requests_per_second: f64,
    pub(in crate::operator) hits_memory: u64,
    pub(in crate::operator) hits_valkey: u64,
    pub(in crate::operator) misses: u64,
    pub(in crate::operator) stale: u64,
    pub(in crate::operator) coalesced: u64,
    pub(in crate::operator) loads: u64,
    pub(in crate::operator) load_failures: u64,
    /// Upper bounds of the percentiles of the durations of loads.
    pub(in crate::operator) load_p50_ms: Option<f64>,
    pub(in crate::operator) load_p99_ms: Option<f64>,
    pub(in crate::operator) fills_refused: u64,
    pub(in crate::operator) lease_conflicts: u64,
    pub(in crate::operator) fence_conflicts: u64,
    pub(in crate::operator) samples: u64,
    pub(in crate::operator) samples_stale: u64,
    /// `None` for a read without a route of its own.
    pub(in crate::operator) not_modified: Option<u64>,
    /// The last two minutes.
    pub(in crate::operator) history: Rates,
}

/// The routes whose responses are those of a read.
const ROUTES: [(&str, &str); 9] = [
    ("live_data_instruments", "/live-data/instruments"),
    ("latest_run", "/instrument/{instrument}/latest-run"),
    ("specification", "/instrument/{instrument}/specification"),
    ("live_data_script", "/live-data/{instrument}/script"),
    ("job_list", "/jobs"),
    ("instrument_job_list", "/instrument/{instrument}/jobs"),
    ("job_count", "/jobs/count"),
    (
        "instrument_job_count",
        "/instrument/{instrument}/jobs/count",
    ),
    ("runner_images", "/jobs/runners"),
];

/// The rows of all cached reads.
pub(in crate::operator) fn reads(edge: &Edge, history: &History) -> Vec<ReadRow> {
    let cached = &edge.state().cached;
    let stats = cached.statistics().namespaces;
    let responses = edge.response_counts();
    let not_modified = |name: &str| {
        let (_, route) = ROUTES.iter().find(|(read, _)| *read == name)?;
        let counts = responses.iter();
        let counts = counts.filter(|(of, code, _)| of == route && *code == "304");
        Some(counts.map(|(.., count)| count).sum())
    };
    let row = |facts: Arc<ReadFacts>| {
        let stats = stats.iter().find(|stats| *stats.name == *facts.name)?;
        let rates = history.rates(facts.name);
        Some(row(&facts, stats, rates, not_modified(facts.name)))
    };
    cached.reads().into_iter().filter_map(row).collect()
}

fn row(
    facts: &ReadFacts,
    stats: &NamespaceStats,
    history: Rates,
    not_modified: Option<u64>,
) -> ReadRow {
    let loads = facts.loads();
    ReadRow {
        name: facts.name,
        pattern: [facts.prefix, facts.rest].concat(),
        is_shared: facts.is_shared,
        ttl_seconds: facts.ttl.as_secs(),
        requests: stats.requests,
        requests_per_second: history.now(),
        hits_memory: stats.local_hits,
        hits_valkey: stats.hits,
        misses: misses(stats),
        stale: stats.stale,
        coalesced: stats.queued,
        loads: stats.loads,
        load_failures: stats.load_failures,
        load_p50_ms: percentile(&loads, 0.50),
        load_p99_ms: percentile(&loads, 0.99),
        fills_refused: stats.fills_refused,
        lease_conflicts: stats.leases_met,
        fence_conflicts: stats.fences_met,
        samples: stats.samples,
        samples_stale: stats.samples_stale,
        not_modified,
        history,
    }
}

/// The reads that neither level served, as `/metrics` counts them.
pub(in crate::operator) fn misses(stats: &NamespaceStats) -> u64 {
    let served = stats.local_hits + stats.hits + stats.stale;
    stats.requests.saturating_sub(served)
}

/// An upper bound of a percentile, in milliseconds: that of its bucket.
fn percentile(durations: &Snapshot, fraction: f64) -> Option<f64> {
    if durations.count == 0 {
        return None;
    }
    let rank = (durations.count as f64 * fraction).ceil() as u64;
    let bucket = durations
        .buckets
        .iter()
        .position(|(_, count)| *count >= rank);
    let (micros, _) = BOUNDS.get(bucket?)?;
    Some(Duration::from_micros(*micros).as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Histogram;
    use crate::routes;

    #[test]
    fn a_percentile_is_the_bound_of_its_bucket() {
        let histogram = Histogram::default();
        assert_eq!(percentile(&histogram.snapshot(), 0.5), None);
        for micros in [400, 900, 900, 2_000] {
            histogram.record(Duration::from_micros(micros));
        }
        let found = histogram.snapshot();
        assert_eq!(percentile(&found, 0.5), Some(1.0));
        assert_eq!(percentile(&found, 0.99), Some(2.5));
        histogram.record(Duration::from_secs(20));
        assert_eq!(percentile(&histogram.snapshot(), 0.99), None);
    }

    #[test]
    fn every_route_of_a_read_exists() {
        let paths = routes::paths();
        for (_, route) in ROUTES {
            assert!(paths.contains(&route), "{route}");
        }
    }
}
