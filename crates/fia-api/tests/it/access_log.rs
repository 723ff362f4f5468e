//! The log of the server process as JSON.

use std::path::Path;

use devstack::{Api, tokens};
use serde_json::{Value, json};

use crate::harness::{Fixture, defaults, vars};

/// Runs the server with JSON logs, sends it requests, and returns the lines of its log.
async fn log_of(fixture: &Fixture, level: &str, requests: &[(&str, &str)]) -> Vec<Value> {
    let mut settings = defaults();
    settings.extend(fixture.vars());
    settings.extend(vars(&[
        ("LOG_FORMAT", "json"),
        ("LOG_LEVEL", level),
        ("TRUSTED_PROXIES", "127.0.0.0/8"),
    ]));
    let program = Path::new(env!("CARGO_BIN_EXE_fia-api"));
    let api = Api::start(program, settings.into_iter().collect())
        .await
        .unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for (number, (path, who)) in requests.iter().enumerate() {
        let mut request = client
            .get(format!("{}{path}", api.url()))
            .header("x-request-id", format!("test-{number}"))
            .header("x-forwarded-for", "203.0.113.9, 192.0.2.7");
        if *who != "none" {
            request = request.header("authorization", tokens::authorization(who).unwrap());
        }
        request.send().await.unwrap();
    }
    api.stop().await.unwrap();
    assert!(api.exited().await.unwrap().success());
    let log = std::fs::read_to_string(api.server().log()).unwrap();
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
    log.lines().map(parse).collect()
}

fn of_request<'a>(lines: &'a [Value], id: &str) -> Vec<&'a Value> {
    lines
        .iter()
        .filter(|line| line["request_id"] == id)
        .collect()
}

#[tokio::test]
async fn access_log_entries_are_flat_and_name_route_cache_and_client() {
    let fixture = Fixture::new().await;
    let specification = "/api/instrument/mari/specification?secret=1";
    let lines = log_of(
        &fixture,
        "info",
        &[
            (specification, "apikey"),
            ("/job/1", "staff"),
            ("/nothing", "none"),
            ("/live-data/instruments", "none"),
        ],
    )
    .await;
    for line in &lines {
        let nested = line.as_object().unwrap().values();
        assert!(nested.clone().all(|value| !value.is_object()), "{line}");
    }
    let expected = [
        json!({
            "url.path": "/api/instrument/mari/specification", "fia.caller": "program",
            "http.route": "/instrument/{instrument}/specification",
            "http.response.status_code": 200, "fia.cache": "miss",
        }),
        json!({
            "url.path": "/job/1", "http.route": "/job/{job_id}", "fia.caller": "staff",
        }),
        json!({
            "url.path": "/nothing", "http.route": null, "fia.caller": "anonymous",
            "http.response.status_code": 404, "fia.cache": "none",
        }),
        json!({ "url.path": "/live-data/instruments", "fia.caller": "anonymous" }),
    ];
    for (number, expected) in expected.iter().enumerate() {
        let entries = of_request(&lines, &format!("test-{number}"));
        let entry = entries
            .iter()
            .find(|line| line["message"] == "request")
            .unwrap_or_else(|| panic!("no entry of request {number}: {lines:?}"));
        for (field, value) in expected.as_object().unwrap() {
            assert_eq!(&entry[field], value, "{field} of {entry}");
        }
        assert_eq!(entry["http.request.method"], "GET");
        assert_eq!(entry["client.address"], "192.0.2.7");
        assert!(entry["duration_ms"].as_f64().unwrap() > 0.0, "{entry}");
        assert!(
            entry["http.response.body.size"].as_u64().unwrap() > 0,
            "{entry}"
        );
        assert!(!entry.to_string().contains("secret"), "{entry}");
    }
}

/// At `warn` there is no access log, but the lines of a failed request have its id.
#[tokio::test]
async fn warnings_carry_the_request_id_at_any_level() {
    let fixture = Fixture::new().await;
    let client = fixture.database.client().await;
    client
        .batch_execute("DROP TABLE jobs CASCADE")
        .await
        .unwrap();
    let lines = log_of(&fixture, "warn", &[("/job/1", "apikey")]).await;
    let lines = of_request(&lines, "test-0");
    let messages: Vec<&str> = lines
        .iter()
        .map(|line| line["message"].as_str().unwrap())
        .collect();
    assert!(messages.contains(&"request failed"), "{messages:?}");
    assert!(messages.len() > 1, "{messages:?}");
}
