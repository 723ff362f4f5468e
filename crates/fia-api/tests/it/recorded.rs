//! Replay of requests and responses recorded from the legacy server.
//!
//! `cases.jsonl` is ordered: later cases may depend on earlier ones. The prefix of a case's
//! id is its area.

use axum::body::Body;
use devstack::{Valkey, shared};
use http::{HeaderName, Request, header};
use serde_json::{Map, Value};

use crate::consumer::queue_vars;
use crate::harness::{Database, Replica, Response, Vars, upstream_vars, vars};
use crate::sample_files::{SampleFiles, form, sha256, unzip};

/// Id prefixes of the areas that are replayed.
const SERVED: &[&str] = &[
    "health.",
    "routing.unknown",
    "routing.cors",
    "live.",
    "spec.",
    "latest.",
    "write.script",
    "write.spec",
    "write.latest",
    "auth.instrument-",
    "list.",
    "filter.",
    "count.",
    "job.",
    "patch.",
    "runners.",
    "auth.jobs",
    "auth.job-1.",
    "find.",
    "download.",
    "zip.",
    "extras.",
    "routing.extras",
    "auth.find_file",
    "auth.extras",
    "auth.live-data",
    "auto.",
    "simple",
    "rerun",
    "resubmit",
];

#[tokio::test]
async fn recorded_cases_match() {
    replay(&vars(&[])).await;
}

/// The cases write and read the same jobs and instruments, so a stale response would differ.
#[tokio::test]
async fn recorded_cases_match_with_caches() {
    let valkey = Valkey::start().await.unwrap();
    replay(&vars(&[("VALKEY_URL", &valkey.url())])).await;
}

async fn replay(more: &Vars) {
    let database = Database::seeded().await;
    let upstreams = upstream_vars(shared::upstreams().await.unwrap());
    let files = SampleFiles::new();
    let queue = queue_vars(shared::rabbitmq().await.unwrap());
    let token = vars(&[("GITHUB_API_TOKEN", "gh-token-value")]);
    let settings = [
        &database.vars(),
        &upstreams,
        &files.vars(),
        &queue,
        &token,
        more,
    ];
    let replica = Replica::new(&settings);
    if more.contains_key("VALKEY_URL") {
        replica.wait_for_shared_level().await;
        replica.state.cached.wait_for_tracking().await;
    }
    let mut replayed = 0;
    let mut failed = Vec::new();
    for case in cases() {
        let id = text(&case, "id");
        if SERVED.iter().any(|prefix| id.starts_with(prefix)) {
            let response = replica.send(request_of(&case)).await;
            replayed += 1;
            let differences = differences(&case["expect"], &response);
            failed.extend(differences.into_iter().map(|what| format!("{id}: {what}")));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(replayed > 400, "only {replayed} cases were replayed");
}

pub(crate) fn cases() -> impl Iterator<Item = Value> {
    include_str!("cases.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
}

pub(crate) fn text(case: &Value, field: &str) -> String {
    case[field].as_str().unwrap_or_default().to_owned()
}

fn request_of(case: &Value) -> Request<Body> {
    let mut request = Request::builder()
        .method(case["method"].as_str().unwrap_or("GET"))
        .uri(text(case, "path"));
    if let Some(value) = devstack::tokens::authorization(&text(case, "auth")) {
        request = request.header(header::AUTHORIZATION, value);
    }
    for (name, value) in case["headers"].as_object().into_iter().flatten() {
        let name: HeaderName = name.parse().unwrap();
        request = request.header(name, value.as_str().unwrap());
    }
    if let Some(upload) = case.get("upload") {
        let (kind, body) = form(&text(upload, "field"), &text(upload, "content"));
        let request = request.header(header::CONTENT_TYPE, kind);
        return request.body(Body::from(body)).unwrap();
    }
    let body = match (case.get("json"), case.get("body")) {
        (Some(json), _) => Some(json.to_string()),
        (None, Some(body)) => body.as_str().map(str::to_owned),
        (None, None) => None,
    };
    if body.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    request
        .body(body.map_or_else(Body::empty, Body::from))
        .unwrap()
}

/// Describes every difference between a response and the recorded one.
fn differences(expected: &Value, response: &Response) -> Vec<String> {
    let status = Value::from(response.status.as_u16());
    let allowed = match &expected["status"] {
        Value::Array(several) => several.contains(&status),
        one => *one == status,
    };
    if !allowed {
        return vec![format!("status {status}, expected {}", expected["status"])];
    }
    let mut found = Vec::new();
    for (name, value) in expected["headers"].as_object().into_iter().flatten() {
        if response.header(name) != value.as_str().unwrap() {
            found.push(format!(
                "{name}: {:?}, expected {value}",
                response.header(name)
            ));
        }
    }
    if let Some(shape) = expected["shape"].as_str()
        && !has_shape(shape, &response.json())
    {
        found.push(format!("no {shape} body: {}", response.text()));
    }
    let order = expected["list_by"].as_str();
    if let Some(digest) = expected["sha256"].as_str()
        && sha256(&response.body) != digest
    {
        found.push(format!("another body of {} bytes", response.body.len()));
    }
    if let Some(members) = expected["zip"].as_object() {
        let held = unzip(&response.body).into_iter();
        let held: Map<String, Value> = held.map(|(n, c)| (n, sha256(&c).into())).collect();
        if held != *members {
            found.push(format!("archive {held:?}, expected {members:?}"));
        }
    }
    if let Some(json) = expected.get("json")
        && !same_list(json, &response.json(), order, expected["unordered"] == true)
    {
        found.push(format!("body {}, expected {json}", response.text()));
    }
    if let Some(prepared) = expected.get("scripts") {
        let body = response.json();
        if body["script"] != prepared["script"] || !body["job_id"].is_i64() {
            found.push(format!("body {body}, expected {prepared}"));
        }
    }
    if expected["int"] == true && !response.json().is_i64() {
        found.push(format!("body {}, expected an integer", response.text()));
    }
    found
}

/// Equality of lists, ignoring the order among ties: the legacy server breaks none.
fn same_list(a: &Value, b: &Value, order: Option<&str>, unordered: bool) -> bool {
    let Some(order) = order else {
        return same(a, b, unordered);
    };
    let keys = |list: &Value| -> Vec<Value> {
        let items = list.as_array().unwrap().iter();
        let key = |item: &Value| item.pointer(&pointer(order)).cloned().unwrap_or_default();
        items.map(key).collect()
    };
    keys(a) == keys(b) && same(a, b, true)
}

/// Converts `run.title` to a JSON pointer.
fn pointer(dotted: &str) -> String {
    format!("/{}", dotted.replace('.', "/"))
}

fn has_shape(shape: &str, body: &Value) -> bool {
    match shape {
        "detail" => body.get("detail").is_some(),
        "message10422" => {
            body["status_code"] == 10422 && body["message"].as_str().is_some_and(|m| !m.is_empty())
        }
        "error" => body.is_object() || body.is_string(),
        other => panic!("unknown shape {other}"),
    }
}

/// Equality of JSON values: `1` equals `1.0`, and key order is ignored.
fn same(a: &Value, b: &Value, unordered: bool) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) if unordered => {
            a.len() == b.len() && a.iter().all(|x| b.iter().any(|y| same(x, y, false)))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b, false))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(key, a)| b.get(key).is_some_and(|b| same(a, b, false)))
        }
        _ => a == b,
    }
}
