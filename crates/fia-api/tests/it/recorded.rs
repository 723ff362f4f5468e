//! Requests and answers recorded at the older server, replayed.
//!
//! `cases.jsonl` has them all, in an order in which later ones may build on earlier ones. A
//! case belongs to an area by the beginning of its id; an area is replayed once it is served.

use axum::body::Body;
use devstack::shared;
use http::{HeaderName, Request, header};
use serde_json::{Map, Value};

use crate::consumer::queue_vars;
use crate::harness::{Answer, Database, Replica, upstream_vars, vars};
use crate::trees::{SampleFiles, form, sha256, unzip};

/// The beginnings of the ids of the cases that are served.
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
async fn recorded_answers_hold() {
    let database = Database::seeded().await;
    let upstreams = upstream_vars(shared::upstreams().await.unwrap());
    let files = SampleFiles::new();
    let queue = queue_vars(shared::rabbitmq().await.unwrap());
    let token = vars(&[("GITHUB_API_TOKEN", "gh-token-value")]);
    let replica = Replica::new(&[&database.vars(), &upstreams, &files.vars(), &queue, &token]);
    let mut replayed = 0;
    let mut failed = Vec::new();
    for case in cases() {
        let id = text(&case, "id");
        if SERVED.iter().any(|prefix| id.starts_with(prefix)) {
            let answer = replica.send(request_of(&case)).await;
            replayed += 1;
            let differences = differences(&case["expect"], &answer);
            failed.extend(differences.into_iter().map(|what| format!("{id}: {what}")));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(replayed > 400, "only {replayed} cases were replayed");
}

/// All recorded cases.
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

/// Where an answer is not what was recorded.
fn differences(expected: &Value, answer: &Answer) -> Vec<String> {
    let status = Value::from(answer.status.as_u16());
    let allowed = match &expected["status"] {
        Value::Array(several) => several.contains(&status),
        one => *one == status,
    };
    if !allowed {
        return vec![format!("status {status}, expected {}", expected["status"])];
    }
    let mut found = Vec::new();
    for (name, value) in expected["headers"].as_object().into_iter().flatten() {
        if answer.header(name) != value.as_str().unwrap() {
            found.push(format!(
                "{name}: {:?}, expected {value}",
                answer.header(name)
            ));
        }
    }
    if let Some(shape) = expected["shape"].as_str()
        && !has_shape(shape, &answer.json())
    {
        found.push(format!("no {shape} body: {}", answer.text()));
    }
    let order = expected["list_by"].as_str();
    if let Some(digest) = expected["sha256"].as_str()
        && sha256(&answer.body) != digest
    {
        found.push(format!("another body of {} bytes", answer.body.len()));
    }
    if let Some(members) = expected["zip"].as_object() {
        let held = unzip(&answer.body).into_iter();
        let held: Map<String, Value> = held.map(|(n, c)| (n, sha256(&c).into())).collect();
        if held != *members {
            found.push(format!("archive {held:?}, expected {members:?}"));
        }
    }
    if let Some(json) = expected.get("json")
        && !same_list(json, &answer.json(), order, expected["unordered"] == true)
    {
        found.push(format!("body {}, expected {json}", answer.text()));
    }
    if let Some(prepared) = expected.get("scripts") {
        let body = answer.json();
        if body["script"] != prepared["script"] || !body["job_id"].is_i64() {
            found.push(format!("body {body}, expected {prepared}"));
        }
    }
    if expected["int"] == true && !answer.json().is_i64() {
        found.push(format!("body {}, expected an integer", answer.text()));
    }
    found
}

/// The same, but that equals of an order may change places: the older server breaks no ties.
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

/// `run.title` as a JSON pointer.
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

/// Equal as JSON values: `1` is `1.0`, and the order of keys is free.
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
