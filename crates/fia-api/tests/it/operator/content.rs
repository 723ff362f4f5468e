//! What the page shows equals what metrics and Valkey have.

use std::time::Duration;

use axum::body::Body;
use fia_api::app::Metrics;
use http::{StatusCode, header};
use serde_json::Value;

use crate::harness::{Fixture, eventually};
use crate::metrics::scrape;
use crate::operator::{Operated, get};

/// The fields of a read's row, and the metrics that they equal.
const FIELDS: [(&str, &str); 14] = [
    ("requests", "fia_api_cache_requests_total{class=\"CLASS\"}"),
    (
        "hits_memory",
        "fia_api_cache_hits_total{class=\"CLASS\",level=\"local\"}",
    ),
    (
        "hits_valkey",
        "fia_api_cache_hits_total{class=\"CLASS\",level=\"shared\"}",
    ),
    ("misses", "fia_api_cache_misses_total{class=\"CLASS\"}"),
    ("stale", "fia_api_cache_stale_served_total{class=\"CLASS\"}"),
    ("coalesced", "fia_api_cache_joins_total{class=\"CLASS\"}"),
    ("loads", "fia_api_cache_loads_total{class=\"CLASS\"}"),
    (
        "load_failures",
        "fia_api_cache_load_failures_total{class=\"CLASS\"}",
    ),
    (
        "fills_refused",
        "fia_api_cache_conflicts_total{class=\"CLASS\",kind=\"fill_refused\"}",
    ),
    (
        "lease_conflicts",
        "fia_api_cache_conflicts_total{class=\"CLASS\",kind=\"lease\"}",
    ),
    (
        "fence_conflicts",
        "fia_api_cache_conflicts_total{class=\"CLASS\",kind=\"fence\"}",
    ),
    ("samples", "fia_api_cache_samples_total{class=\"CLASS\"}"),
    (
        "samples_stale",
        "fia_api_cache_samples_stale_total{class=\"CLASS\"}",
    ),
    ("not_modified", ""),
];

async fn read_all(page: &Operated) {
    for _ in 0..40 {
        for instrument in ["MARI", "LET"] {
            for read in ["specification", "latest-run"] {
                let path = format!("/instrument/{instrument}/{read}");
                page.replica.get(&path, "staff").await;
            }
        }
        page.replica.get("/jobs/count", "none").await;
    }
}

#[tokio::test]
async fn the_table_of_reads_equals_the_metrics() {
    let fixture = Fixture::new().await;
    let page = Operated::new(&fixture).await;
    read_all(&page).await;
    let scraped = scrape(&Metrics::new(page.replica.edge())).await;
    let json = page.json("/").await;
    let rows = json["reads"].as_array().unwrap();
    assert_eq!(rows.len(), 12);
    for row in rows {
        let class = row["name"].as_str().unwrap();
        for (field, metric) in FIELDS.iter().filter(|(_, metric)| !metric.is_empty()) {
            let name = metric.replace("CLASS", class);
            let expected = scraped
                .get(&name)
                .copied()
                .unwrap_or_else(|| panic!("{name}"));
            assert_eq!(row[field].as_f64(), Some(expected), "{class} {field}");
        }
    }
    let spec = rows
        .iter()
        .find(|row| row["name"] == "specification")
        .unwrap();
    assert_eq!(spec["requests"], 80);
    let html = page.html("/").await;
    let cell = format!(
        "data-field=\"hits_memory\" data-value=\"{}\"",
        spec["hits_memory"]
    );
    assert!(html.contains(&cell), "{cell}");
}

#[tokio::test]
async fn keys_are_shown_as_valkey_has_them_without_values() {
    let fixture = Fixture::new().await;
    let page = Operated::new(&fixture).await;
    read_all(&page).await;
    page.replica.get("/jobs?as_user=true", "user").await;
    let mut redis = fixture.redis().await;
    let json = page.json("/?key=fia_api").await;
    let rows = json["keys"]["rows"].as_array().unwrap();
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg("fia_api:*:*:*")
        .query_async(&mut redis)
        .await
        .unwrap();
    let keys: Vec<&String> = keys.iter().filter(|key| !key.contains(":group:")).collect();
    assert!(keys.len() > 4 && rows.len() > keys.len() - 1, "{keys:?}");
    for row in rows
        .iter()
        .filter(|row| row["is_masked"] == Value::Bool(false))
    {
        let key = row["key"].as_str().unwrap();
        let pttl: i64 = redis::cmd("PTTL")
            .arg(key)
            .query_async(&mut redis)
            .await
            .unwrap();
        let shown = row["ttl_seconds"].as_f64().unwrap();
        assert!(
            (shown - pttl as f64 / 1e3).abs() < 2.0,
            "{key}: {shown} and {pttl} ms"
        );
        assert_eq!(row["valkey"], "payload", "{key}");
    }
    let one = page.json("/?key=instrument:spec:MARI").await;
    assert_eq!(one["keys"]["rows"][0]["memory"], "current");
    let html = page.html("/?key=experiments").await;
    assert!(
        !html.contains("experiments:1234"),
        "user numbers are masked"
    );

    let top = page.json("/?by=bytes").await;
    let largest = &top["keys"]["rows"][0];
    assert!(largest["bytes"].as_u64() > Some(0), "{largest}");
    eventually(Duration::from_secs(5), async || {
        read_all(&page).await;
        let top = page.json("/").await;
        top["keys"]["rows"].as_array().unwrap().len() >= 3
    })
    .await;
}

#[tokio::test]
async fn responses_are_confined_and_not_stored() {
    let fixture = Fixture::new().await;
    let page = Operated::new(&fixture).await;
    for path in ["/", "/?key=%3Cscript%3E", "/other"] {
        let response = page.send(get(path).body(Body::empty()).unwrap()).await;
        let policy = response.header("content-security-policy");
        assert!(policy.starts_with("default-src 'self';"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'") && policy.contains("form-action 'self'"));
        assert_eq!(response.header("cache-control"), "no-store");
        assert_eq!(response.header("x-frame-options"), "DENY");
        assert!(!response.text().contains("<script>"), "{path}");
    }
    for (path, media_type) in [
        ("/assets/operator.css", "text/css; charset=utf-8"),
        ("/assets/operator.js", "text/javascript; charset=utf-8"),
        ("/assets/plex-sans-400.woff2", "font/woff2"),
    ] {
        let response = page.send(get(path).body(Body::empty()).unwrap()).await;
        assert_eq!(response.status, StatusCode::OK);
        assert_eq!(response.header(header::CONTENT_TYPE.as_str()), media_type);
    }
    // The API's listener has none of it.
    let response = page.replica.get("/assets/operator.css", "none").await;
    assert_eq!(response.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn every_section_has_a_twin_in_json() {
    let fixture = Fixture::new().await;
    let page = Operated::new(&fixture).await;
    let (html, json) = (page.html("/").await, page.json("/").await);
    let sections = html.split("<section").skip(1).filter_map(|section| {
        let (_, rest) = section.split('>').next()?.split_once("id=\"")?;
        rest.split('"').next()
    });
    let sections: Vec<&str> = sections.collect();
    assert_eq!(
        sections,
        [
            "reads", "keys", "outbox", "slow", "fleet", "actions", "streams"
        ]
    );
    for section in sections {
        assert!(!json[section].is_null(), "{section}");
    }
    for name in ["verdict", "dependencies", "replica"] {
        assert!(!json[name].is_null(), "{name}");
    }
}
