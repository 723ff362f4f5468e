//! `/metrics`: text format, counters and listener.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use axum::body::Body;
use devstack::Api;
use fia_api::app::{Metrics, Service as _};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::json;

use crate::harness::{Fixture, Replica, Vars, defaults, eventually, vars};

/// A scrape: samples as written, with their values.
pub(crate) type Scrape = BTreeMap<String, f64>;

pub(crate) async fn scrape(metrics: &Metrics) -> Scrape {
    let request = Request::get("/metrics").body(Body::empty()).unwrap();
    let (parts, body) = metrics.clone().handle(request).await.into_parts();
    assert_eq!(parts.status, StatusCode::OK);
    assert_eq!(
        parts.headers["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let body = body.collect().await.unwrap().to_bytes();
    parse(std::str::from_utf8(&body).unwrap())
}

fn is_name(name: &str) -> bool {
    let mut letters = name.chars();
    let first = letters.next().unwrap_or(' ');
    let follows = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !first.is_ascii_digit() && follows(first) && letters.all(follows)
}

/// Parses the text format 0.0.4 strictly: each family has one HELP, one TYPE and then its
/// samples, none twice; a counter's name ends in `_total`.
fn parse(text: &str) -> Scrape {
    assert!(text.ends_with('\n'));
    let mut samples = Scrape::new();
    let (mut families, mut helped) = (BTreeSet::new(), BTreeSet::new());
    let (mut family, mut kind) = (String::new(), String::new());
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, meaning) = help.split_once(' ').unwrap();
            assert!(is_name(name) && !meaning.is_empty(), "{line}");
            assert!(helped.insert(name.to_owned()), "{line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, its_kind) = rest.split_once(' ').unwrap();
            assert!(
                ["counter", "gauge", "histogram"].contains(&its_kind),
                "{line}"
            );
            assert_eq!(its_kind == "counter", name.ends_with("_total"), "{line}");
            assert!(helped.contains(name), "no HELP: {line}");
            assert!(families.insert(name.to_owned()), "twice: {line}");
            (family, kind) = (name.to_owned(), its_kind.to_owned());
        } else {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = match sample.split_once('{') {
                None => (sample, ""),
                Some((name, labels)) => (name, labels.strip_suffix('}').unwrap()),
            };
            let part = name
                .strip_prefix(&family)
                .unwrap_or_else(|| panic!("{line}"));
            let parts = ["_bucket", "_sum", "_count"];
            assert_eq!(parts.contains(&part), kind == "histogram", "{line}");
            assert!(part.is_empty() || kind == "histogram", "{line}");
            for label in labels.split(',').filter(|label| !label.is_empty()) {
                let (key, value) = label.split_once('=').unwrap();
                assert!(is_name(key), "{line}");
                let value = value.strip_prefix('"').unwrap().strip_suffix('"').unwrap();
                assert!(!value.contains(['"', '\\', '\n']), "{line}");
            }
            let value: f64 = value.parse().unwrap();
            assert!(value.is_finite() && value >= 0.0, "{line}");
            assert!(samples.insert(sample.to_owned(), value).is_none(), "{line}");
        }
    }
    samples
}

/// Increases between two scrapes of the samples that contain all `parts`.
fn grown(before: &Scrape, after: &Scrape, parts: &[&str]) -> Vec<(String, f64)> {
    after
        .iter()
        .filter(|(sample, _)| parts.iter().all(|part| sample.contains(part)))
        .map(|(sample, value)| (sample.clone(), value - before.get(sample).unwrap_or(&0.0)))
        .filter(|(_, more)| *more != 0.0)
        .collect()
}

/// What has grown of the class `latest_run`, short.
fn grown_in_class(before: &Scrape, after: &Scrape) -> BTreeMap<String, f64> {
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
        "fia_api_database_connections{state=\"idle\"}",
        "fia_api_log_viewers",
        "fia_api_http_requests_refused_total",
        "fia_api_http_request_duration_seconds_sum",
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
    let start = scrape(&metrics).await;
    assert_complete(&start);
    let get = async || {
        let before = scrape(&metrics).await;
        let response = replica.get(PATH, "apikey").await;
        assert_eq!(response.status, StatusCode::OK);
        grown_in_class(&before, &scrape(&metrics).await)
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
    let put = grown_in_class(&before, &after);
    assert_eq!(put["writes_total"], 1.0);
    assert_eq!(put["load_failures_total"], 1.0);
    let actual = grown(&before, &after, &["http_requests_total"]);
    let expected = [("2xx", 1.0), ("4xx", 1.0)];
    let expected = expected.map(|(class, n)| {
        (
            format!("fia_api_http_requests_total{{code=\"{class}\"}}"),
            n,
        )
    });
    assert_eq!(actual, expected);
    let durations = "fia_api_http_request_duration_seconds";
    let count = after[&format!("{durations}_count")];
    assert_eq!(count, after[&format!("{durations}_bucket{{le=\"+Inf\"}}")]);
    assert_eq!(count, before[&format!("{durations}_count")] + 2.0);
}

#[tokio::test]
async fn unused_dependencies_have_no_up_metric() {
    let replica = Replica::new(&[&Vars::new()]);
    let scrape = scrape(&Metrics::new(replica.edge())).await;
    for absent in ["fia_api_cache_shared_up", "fia_api_cache_tracking_up"] {
        assert!(!scrape.contains_key(absent), "{absent}");
    }
}

#[tokio::test]
async fn only_get_metrics_is_served() {
    let replica = Replica::new(&[&Vars::new()]);
    let metrics = Metrics::new(replica.edge());
    for (method, path) in [
        (Method::GET, "/"),
        (Method::GET, "/metrics/"),
        (Method::POST, "/metrics"),
        (Method::GET, "/healthz"),
    ] {
        let request = Request::builder().method(&method).uri(path);
        let response = metrics
            .clone()
            .handle(request.body(Body::empty()).unwrap())
            .await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{method} {path}");
    }
    // The API listener does not serve it.
    let response = replica.get("/metrics", "none").await;
    assert_eq!(response.status, StatusCode::NOT_FOUND);
}

async fn serve(more: &Vars) -> Api {
    let mut env = defaults();
    env.extend(more.clone());
    env.remove("FIA_API_BIND");
    let program = env!("CARGO_BIN_EXE_fia-api").as_ref();
    Api::start(program, env.into_iter().collect())
        .await
        .unwrap()
}

fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// The number of listening sockets of a process.
fn listening(process: u32) -> usize {
    let read = |path: &str| std::fs::read_to_string(format!("/proc/{process}/{path}")).unwrap();
    let tables = [read("net/tcp"), read("net/tcp6")].concat();
    let sockets: Vec<String> = std::fs::read_dir(format!("/proc/{process}/fd"))
        .unwrap()
        .filter_map(|file| std::fs::read_link(file.unwrap().path()).ok())
        .map(|link| link.to_string_lossy().into_owned())
        .collect();
    let columns = tables.lines().map(|line| line.split_whitespace().collect());
    columns
        // Column 4 is the state, 0A being LISTEN; column 10 is the socket's inode.
        .filter(|columns: &Vec<&str>| columns.len() > 9 && columns[3] == "0A")
        .filter(|columns| sockets.contains(&format!("socket:[{}]", columns[9])))
        .count()
}

#[tokio::test]
async fn the_listener_is_off_by_default() {
    let address = free_address();
    for (settings, sockets) in [
        (Vars::new(), 1),
        (vars(&[("FIA_API_METRICS_BIND", "")]), 1),
        (vars(&[("FIA_API_METRICS_BIND", &address)]), 2),
    ] {
        let api = serve(&settings).await;
        assert_eq!(listening(api.server().pid().unwrap()), sockets);
    }
}

#[tokio::test]
async fn the_listener_serves_until_shutdown() {
    let address = free_address();
    let api = serve(&vars(&[("FIA_API_METRICS_BIND", &address)])).await;
    let url = format!("http://{address}/metrics");
    let response = fetch(&url).await;
    assert!(parse(&response).contains_key("fia_api_log_viewers"));
    api.stop().await.unwrap();
    assert!(api.exited().await.unwrap().success());
    assert!(tokio::net::TcpStream::connect(&address).await.is_err());
}

async fn fetch(url: &str) -> String {
    let response = reqwest::get(url).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    response.text().await.unwrap()
}

#[tokio::test]
async fn an_address_in_use_is_a_startup_error() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_fia-api"))
        .arg("serve")
        .env_clear()
        .envs(defaults())
        .env("FIA_API_METRICS_BIND", address)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("FIA_API_METRICS_BIND: Address already in use"),
        "{said}"
    );
}
