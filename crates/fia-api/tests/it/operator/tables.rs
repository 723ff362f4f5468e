//! Every table equals `/metrics` at the same time.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use devstack::Upstreams;
use fia_api::app::Metrics;
use http::{Method, StatusCode, header};
use serde_json::{Value, json};

use crate::consumer::queue_vars;
use crate::harness::{Fixture, eventually, request, upstream_vars, vars};

use crate::metrics::{Scrape, scrape};
use crate::operator::{LATEST_RUN, Operated, SPECIFICATION};

/// The page and the metrics; nothing happens in between.
async fn both(page: &Operated) -> (Value, Scrape) {
    let metrics = Metrics::new(page.replica.edge());
    (page.json("/").await, scrape(&metrics).await)
}

/// Checks fields of a table against metrics.
fn assert_equal(table: &Value, metrics: &Scrape, fields: &[(&str, &str)]) {
    for (field, metric) in fields {
        let expected = metrics.get(*metric).unwrap_or_else(|| panic!("{metric}"));
        assert_eq!(table[field].as_f64(), Some(*expected), "{field}: {table}");
    }
}

#[tokio::test]
async fn not_modified_responses_and_ttls_of_reads_are_as_counted_and_configured() {
    let fixture = Fixture::new().await;
    let page = Operated::with(
        &fixture,
        &vars(&[("INSTRUMENT_SPEC_CACHE_TTL_SECONDS", "77")]),
    )
    .await;
    let first = page.replica.get(SPECIFICATION, "staff").await;
    for _ in 0..3 {
        let mut again = request(Method::GET, SPECIFICATION, "staff", None);
        let tag = first.headers[header::ETAG].clone();
        again.headers_mut().insert(header::IF_NONE_MATCH, tag);
        assert_eq!(
            page.replica.send(again).await.status,
            StatusCode::NOT_MODIFIED
        );
    }
    let (json, metrics) = both(&page).await;
    let rows = json["reads"].as_array().unwrap();
    let row = rows
        .iter()
        .find(|row| row["name"] == "specification")
        .unwrap();
    let route = "route=\"/instrument/{instrument}/specification\"";
    let counted = metrics.iter().filter(|(name, _)| {
        name.starts_with("fia_api_http_requests_total")
            && name.contains(route)
            && name.contains("code=\"304\"")
    });
    assert_eq!(
        row["not_modified"].as_f64(),
        Some(counted.map(|(_, count)| count).sum())
    );
    assert_eq!(
        (&row["not_modified"], &row["ttl_seconds"]),
        (&json!(3), &json!(77))
    );
}

#[tokio::test]
async fn the_strip_and_the_memory_equal_the_metrics() {
    let fixture = Fixture::new().await;
    let page = Operated::new(&fixture).await;
    for path in [LATEST_RUN, SPECIFICATION] {
        for _ in 0..3 {
            page.replica.get(path, "staff").await;
        }
    }
    let (json, metrics) = both(&page).await;
    let memory = [
        ("local_entries", "fia_api_cache_local_entries"),
        ("local_bytes", "fia_api_cache_local_bytes"),
    ];
    assert_equal(&json["replica"], &metrics, &memory);
    assert!(json["replica"]["local_entries"].as_u64() >= Some(2));
    let state = |id: &str| page_state(&json, id);
    let up = |metric: &str| if metrics[metric] == 1.0 { "up" } else { "down" };
    assert_eq!(state("valkey"), up("fia_api_cache_shared_up"));
    assert_eq!(state("tracking"), up("fia_api_cache_tracking_up"));
    assert_eq!(state("postgresql"), up("fia_api_database_reachable"));
    assert_eq!(
        state("postgresql"),
        up("fia_api_dependency_up{dependency=\"postgresql\"}")
    );
    let connections = format!(
        "{} / {} connections",
        metrics["fia_api_database_connections{state=\"in_use\"}"],
        metrics["fia_api_database_connections_max"]
    );
    assert_eq!(page.dependency("postgresql").await["text"], connections);

    fixture.valkey.kill();
    eventually(Duration::from_secs(2), async || {
        page.dependency("valkey").await["state"] == "down"
    })
    .await;
    fixture.valkey.restart().await.unwrap();
    eventually(Duration::from_secs(2), async || {
        page.dependency("valkey").await["text"] == "circuit opened once"
    })
    .await;
    let (_, metrics) = both(&page).await;
    assert_eq!(metrics["fia_api_cache_breaker_openings_total"], 1.0);
}

fn page_state(json: &Value, id: &str) -> String {
    let all = json["dependencies"].as_array().unwrap();
    let found = all.iter().find(|one| one["id"] == id).unwrap();
    found["state"].as_str().unwrap().to_owned()
}

/// Takes some seconds: the relay counts the messages every 2 s.
#[tokio::test]
async fn the_outbox_equals_the_metrics_and_the_table() {
    let fixture = Fixture::new().await;
    fixture.database.add_outbox().await;
    let queue = queue_vars(devstack::shared::rabbitmq().await.unwrap());
    let page = Operated::with(&fixture, &queue).await;
    for number in 0..2 {
        let job = json!({"runner_image": "image", "script": format!("print({number})")});
        let post = request(Method::POST, "/job/simple", "staff", Some(&job));
        assert_eq!(page.replica.send(post).await.status, StatusCode::OK);
    }
    let client = fixture.database.client().await;
    // One that another process delivers, and two that are parked.
    let insert = "INSERT INTO fia_api_outbox (queue, body, attempts, error, claimed_until, parked_at) VALUES \
         ('other', '{}', 0, NULL, now() + interval '1 hour', NULL), \
         ('other', '{\"job_id\": 7}', 5, 'too large', 'infinity', now()), \
         ('other', '{}', 5, 'too large', 'infinity', now())";
    client.batch_execute(insert).await.unwrap();
    let counted = [("published", 2), ("backlog", 1), ("parked", 2)];
    eventually(Duration::from_secs(10), async || {
        let outbox = &page.json("/").await["outbox"];
        counted.iter().all(|(field, count)| outbox[field] == *count)
    })
    .await;
    let (json, metrics) = both(&page).await;
    let outbox = &json["outbox"];
    let fields = [
        ("published", "fia_api_outbox_published_total"),
        ("failed_attempts", "fia_api_outbox_failures_total"),
        ("backlog", "fia_api_outbox_backlog_messages"),
        ("parked", "fia_api_outbox_parked_messages"),
    ];
    assert_equal(outbox, &metrics, &fields);
    let age = metrics["fia_api_outbox_backlog_age_seconds"];
    let shown = outbox["oldest_seconds"].as_f64().unwrap();
    assert!(
        (shown - age).abs() <= 3.0,
        "{shown} and {age}: counted again between"
    );
    let sql = "SELECT id, attempts, octet_length(body)::bigint, parked_at IS NOT NULL \
         FROM fia_api_outbox ORDER BY parked_at IS NULL, id";
    let rows = client.query(sql, &[]).await.unwrap();
    let shown = outbox["messages"].as_array().unwrap();
    assert_eq!((rows.len(), shown.len()), (3, 3));
    for row in rows {
        let (id, attempts, bytes): (i64, i32, i64) = (row.get(0), row.get(1), row.get(2));
        let state = if row.get(3) { "parked" } else { "in flight" };
        let message = shown.iter().find(|message| message["id"] == id).unwrap();
        let found = (&message["attempts"], &message["bytes"], &message["state"]);
        assert_eq!(found, (&json!(attempts), &json!(bytes), &json!(state)));
    }
}

#[tokio::test]
async fn the_live_logs_equal_the_metrics() {
    let fixture = Fixture::new().await;
    let page = Operated::new(&fixture).await;
    let view = async |instrument: &str| {
        let path = format!("/live-data/{instrument}/logs");
        let response = page
            .replica
            .edge()
            .handle(request(Method::GET, &path, "apikey", None))
            .await;
        assert_eq!(response.status(), StatusCode::OK);
        response.into_body()
    };
    let bodies: Vec<Body> = vec![view("MARI").await, view("MARI").await, view("LET").await];
    let (json, metrics) = both(&page).await;
    let fields = [
        ("viewers", "fia_api_log_viewers"),
        ("max_viewers", "fia_api_log_viewers_max"),
    ];
    assert_equal(&json["streams"], &metrics, &fields);
    let viewers = json!([
        {"instrument": "LET", "viewers": 1}, {"instrument": "MARI", "viewers": 2},
    ]);
    assert_eq!(json["streams"]["instruments"], viewers);
    drop(bodies);
    eventually(Duration::from_secs(2), async || {
        page.json("/").await["streams"]["viewers"] == 0
    })
    .await;
    assert_eq!(both(&page).await.1["fia_api_log_viewers"], 0.0);
}

/// The auth service and PostgreSQL respond late.
#[tokio::test]
async fn slow_loads_and_calls_equal_the_histograms() {
    let (fixture, upstreams) = tokio::join!(Fixture::new(), Upstreams::start());
    let upstreams = upstreams.unwrap();
    let page = Operated::with(&fixture, &upstream_vars(&upstreams)).await;
    upstreams.delay("/experiments", Duration::from_millis(150));
    let slow = page.replica.get("/jobs?as_user=true&limit=3", "user").await;
    assert_eq!(slow.status, StatusCode::OK);
    let client = fixture.database.client().await;
    let hold =
        "BEGIN; LOCK TABLE instruments IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(0.3); COMMIT";
    let locked = "SELECT 1 FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted \
         AND relation = 'instruments'::regclass";
    let other = fixture.database.client().await;
    let read = async {
        eventually(Duration::from_secs(5), async || {
            !other.query(locked, &[]).await.unwrap().is_empty()
        })
        .await;
        page.replica.get(SPECIFICATION, "staff").await
    };
    let (held, late) = tokio::join!(client.batch_execute(hold), read);
    held.unwrap();
    assert_eq!(late.status, StatusCode::OK);
    let (json, metrics) = both(&page).await;
    let rows = json["slow"].as_array().unwrap();
    let mut shown: BTreeMap<&str, f64> = BTreeMap::new();
    for row in rows {
        assert!(row["milliseconds"].as_u64() >= Some(100), "{row}");
        *shown.entry(row["what"].as_str().unwrap()).or_default() += 1.0;
    }
    assert!(rows.len() < 20, "all are shown: {json}");
    let name = "fia_api_dependency_call_duration_seconds";
    for (sample, count) in metrics
        .iter()
        .filter(|(sample, _)| sample.starts_with(&format!("{name}_count")))
    {
        let labels = sample.split_once('{').unwrap().1.trim_end_matches('}');
        let fast = metrics[&format!("{name}_bucket{{{labels},le=\"0.1\"}}")];
        let what = labels
            .replace("dependency=", "")
            .replace(",operation=", " ")
            .replace('"', "");
        let found = shown.get(&*what).copied().unwrap_or_default();
        assert_eq!(found, count - fast, "{what}");
    }
    for (what, response) in [
        ("load experiments", &slow),
        ("auth_service experiments", &slow),
        ("load specification", &late),
    ] {
        let row = rows.iter().find(|row| row["what"] == what).unwrap();
        assert_eq!(row["request_id"], response.header("x-request-id"), "{what}");
    }
}
