//! Families and their increases.

use std::collections::BTreeMap;
use std::time::Duration;

use fia_api::app::Metrics;
use http::StatusCode;
use serde_json::json;

use crate::harness::{Fixture, Replica, Vars, eventually};
use crate::metrics::scrape;
use crate::metrics::text_format::Scrape;

/// Increases between two scrapes of the samples that contain all `parts`.
fn grown(before: &Scrape, after: &Scrape, parts: &[&str]) -> Vec<(String, f64)> {
    after
        .iter()
        .filter(|(sample, _)| parts.iter().all(|part| sample.contains(part)))
        .map(|(sample, value)| (sample.clone(), value - before.get(sample).unwrap_or(&0.0)))
        .filter(|(_, more)| *more != 0.0)
        .collect()
}

/// Increases of the namespace `latest_run`, with shortened names.
fn grown_in_namespace(before: &Scrape, after: &Scrape) -> BTreeMap<String, f64> {
    let label = "class=\"latest_run\"";
    let short = |(sample, more): (String, f64)| {
        let name = sample.replace("fia_api_cache_", "").replace(label, "");
        (name.replace("{}", "").replace("{,", "{"), more)
    };
    grown(before, after, &[label])
        .into_iter()
        .map(short)
        .collect()
}

fn numbers(pairs: &[(&str, f64)]) -> BTreeMap<String, f64> {
    pairs
        .iter()
        .map(|(name, n)| ((*name).to_owned(), *n))
        .collect()
}

const PATH: &str = "/instrument/MARI/latest-run";

const HIT: &str = "hits_total{level=\"local\"}";

const SHARED_HIT: &str = "hits_total{level=\"shared\"}";

/// Asserts that the first scrape has every family.
fn assert_complete(start: &Scrape) {
    for present in [
        "fia_api_cache_requests_total{class=\"job_list\"}",
        "fia_api_cache_local_bytes",
        "fia_api_outbox_backlog_messages",
        "fia_api_outbox_parked_messages",
        "fia_api_database_connections{state=\"idle\"}",
        "fia_api_log_viewers",
        "fia_api_http_requests_refused_total{reason=\"in_flight\"}",
        "fia_api_http_requests_refused_total{reason=\"receiving\"}",
        "fia_api_http_requests_refused_total{reason=\"open_rate\"}",
        "fia_api_http_bodies_receiving",
        "fia_api_database_pool_refusals_total",
        "fia_api_http_request_duration_seconds_sum{route=\"/healthz\",method=\"GET\",cache=\"none\"}",
        "fia_api_database_pool_wait_seconds_count",
        "fia_api_database_pool_timeouts_total",
        "fia_api_log_viewers_max",
    ] {
        assert!(start.contains_key(present), "{present}");
    }
    assert_eq!(start["fia_api_cache_shared_up"], 1.0);
    assert_eq!(start["fia_api_cache_tracking_up"], 1.0);
    assert_eq!(start["fia_api_database_connections_max"], 8.0);
    assert!(start["process_resident_memory_bytes"] > 1e6);
    assert!(start["process_open_fds"] > 3.0);
    assert!(start["process_start_time_seconds"] > 1.7e9);
}

#[tokio::test]
async fn metrics_parse_and_count_cache_events() {
    let fixture = Fixture::new().await;
    let replica = fixture.replica().await;
    let metrics = Metrics::new(replica.edge());
    replica.get("/healthz", "none").await;
    let start = scrape(&metrics).await;
    assert_complete(&start);
    let get = async || {
        let before = scrape(&metrics).await;
        let response = replica.get(PATH, "apikey").await;
        assert_eq!(response.status, StatusCode::OK);
        grown_in_namespace(&before, &scrape(&metrics).await)
    };
    let miss = numbers(&[
        ("requests_total", 1.0),
        ("misses_total", 1.0),
        ("fetches_total", 1.0),
        ("loads_total", 1.0),
        ("fills_total", 1.0),
    ]);
    assert_eq!(get().await, miss);
    // A replica reads its own fill once before keeping it locally.
    let shared = numbers(&[
        ("requests_total", 1.0),
        (SHARED_HIT, 1.0),
        ("fetches_total", 1.0),
    ]);
    assert_eq!(get().await, shared);
    let local = numbers(&[("requests_total", 1.0), (HIT, 1.0)]);
    // The invalidation caused by the fill may arrive after the local insert.
    eventually(Duration::from_secs(2), async || get().await == local).await;

    let before = scrape(&metrics).await;
    assert!(before["fia_api_cache_local_entries"] >= 1.0);
    assert!(before["fia_api_cache_local_bytes"] > 0.0);
    let run = json!({"latest_run": "another"});
    let put = replica.put(PATH, "apikey", &run).await;
    assert_eq!(put.status, StatusCode::OK);
    let missing = replica.get("/instrument/NOSUCH/latest-run", "apikey").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    let after = scrape(&metrics).await;
    let put = grown_in_namespace(&before, &after);
    assert_eq!(put["writes_total"], 1.0);
    assert_eq!(put["load_failures_total"], 1.0);
    let route = "route=\"/instrument/{instrument}/latest-run\"";
    let series = |method, code, cache| {
        format!(
            "fia_api_http_requests_total{{{route},method=\"{method}\",code=\"{code}\",cache=\"{cache}\"}}"
        )
    };
    let actual = grown(&before, &after, &["http_requests_total"]);
    let expected = [
        (series("GET", "404", "none"), 1.0),
        (series("PUT", "200", "none"), 1.0),
    ];
    assert_eq!(actual, expected);
    let local_hits = series("GET", "200", "local");
    assert!(after[&local_hits] >= 1.0);
    assert_eq!(after[&series("GET", "200", "miss")], 1.0);
    let durations = |scrape: &Scrape, part: &str, more: &str| {
        let labels = format!("{{{route},method=\"PUT\",cache=\"none\"{more}}}");
        let name = format!("fia_api_http_request_duration_seconds_{part}{labels}");
        scrape.get(&name).copied()
    };
    assert_eq!(durations(&before, "count", ""), None);
    assert_eq!(durations(&after, "count", ""), Some(1.0));
    assert_eq!(durations(&after, "bucket", ",le=\"+Inf\""), Some(1.0));
}

#[tokio::test]
async fn unused_dependencies_have_no_up_metric() {
    let replica = Replica::new(&[&Vars::new()]);
    let scrape = scrape(&Metrics::new(replica.edge())).await;
    for absent in ["fia_api_cache_shared_up", "fia_api_cache_tracking_up"] {
        assert!(!scrape.contains_key(absent), "{absent}");
    }
}
