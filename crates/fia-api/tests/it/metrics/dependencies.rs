//! Metrics of dependencies: up, durations, failures.

use devstack::Upstreams;
use fia_api::app::Metrics;
use http::StatusCode;

use crate::harness::{Database, Replica, Vars, upstream_vars, vars};
use crate::metrics::scrape;
use crate::metrics::text_format::Scrape;

fn up(scrape: &Scrape, dependency: &str) -> Option<f64> {
    let sample = format!("fia_api_dependency_up{{dependency=\"{dependency}\"}}");
    scrape.get(&sample).copied()
}

fn calls(scrape: &Scrape, labels: &str) -> f64 {
    scrape[&format!("fia_api_dependency_call_duration_seconds_count{{{labels}}}")]
}

fn failures(scrape: &Scrape, labels: &str) -> f64 {
    scrape[&format!("fia_api_dependency_failures_total{{{labels},kind=\"unavailable\"}}")]
}

const STATEMENT: &str = "dependency=\"postgresql\",operation=\"statement\"";
const VERIFY: &str = "dependency=\"auth_service\",operation=\"verify\"";
const PACKAGES: &str = "dependency=\"github\",operation=\"packages\"";
const PUBLISH: &str = "dependency=\"rabbitmq\",operation=\"publish\"";

/// Without `JWT_SECRET`, so that the auth service verifies each token.
fn remote_verification() -> Vars {
    vars(&[("JWT_SECRET", "")])
}

#[tokio::test]
async fn calls_of_reachable_dependencies_are_counted() {
    let (database, upstreams) = tokio::join!(Database::seeded(), Upstreams::start());
    let upstreams = upstreams.unwrap();
    let settings = [
        &database.vars(),
        &upstream_vars(&upstreams),
        &remote_verification(),
    ];
    let replica = Replica::new(&settings);
    let metrics = Metrics::new(replica.edge());
    let start = scrape(&metrics).await;
    assert_eq!(up(&start, "auth_service"), None);
    assert_eq!(up(&start, "github"), None);
    for (path, who) in [("/jobs?limit=1", "staff"), ("/jobs/runners", "apikey")] {
        let response = replica.get(path, who).await;
        assert_eq!(response.status, StatusCode::OK, "{path}");
    }
    let after = scrape(&metrics).await;
    for dependency in ["postgresql", "auth_service", "github"] {
        assert_eq!(up(&after, dependency), Some(1.0), "{dependency}");
    }
    assert!(calls(&after, STATEMENT) >= 1.0);
    assert_eq!(calls(&after, VERIFY), 1.0);
    assert_eq!(calls(&after, PACKAGES), 1.0);
    assert_eq!(failures(&after, VERIFY), 0.0);
    assert!(after["fia_api_database_pool_wait_seconds_count"] >= 1.0);
}

#[tokio::test]
async fn unavailable_dependencies_are_down() {
    // Nothing listens on port 1.
    let nowhere = "http://127.0.0.1:1";
    let settings = vars(&[
        ("DB_IP", "127.0.0.1"),
        ("DB_PORT", "1"),
        ("GITHUB_API_URL", nowhere),
    ]);
    let replica = Replica::new(&[&settings, &remote_verification()]);
    let metrics = Metrics::new(replica.edge());
    for (path, who) in [
        ("/jobs/count", "none"),
        ("/jobs?limit=1", "staff"),
        ("/jobs/runners", "apikey"),
    ] {
        let response = replica.get(path, who).await;
        assert!(response.status != StatusCode::OK, "{path}");
    }
    let after = scrape(&metrics).await;
    for (dependency, operation) in [
        ("postgresql", STATEMENT),
        ("auth_service", VERIFY),
        ("github", PACKAGES),
    ] {
        assert_eq!(up(&after, dependency), Some(0.0), "{dependency}");
        assert!(failures(&after, operation) >= 1.0, "{dependency}");
    }
    let code = "route=\"/jobs/count\",method=\"GET\",code=\"503\",cache=\"none\"";
    assert_eq!(
        after[&format!("fia_api_http_requests_total{{{code}}}")],
        1.0
    );
}

#[tokio::test]
async fn a_broker_that_refuses_connections_is_down() {
    let database = Database::seeded().await;
    let broker = vars(&[("QUEUE_HOST", "127.0.0.1"), ("QUEUE_PORT", "1")]);
    let replica = Replica::new(&[&database.vars(), &broker]);
    let metrics = Metrics::new(replica.edge());
    assert_eq!(up(&scrape(&metrics).await, "rabbitmq"), None);
    let job = serde_json::json!({"runner_image": "image", "script": "print(1)"});
    let body = crate::harness::request(http::Method::POST, "/job/simple", "staff", Some(&job));
    let response = replica.send(body).await;
    assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE);
    let after = scrape(&metrics).await;
    assert_eq!(up(&after, "rabbitmq"), Some(0.0));
    assert!(failures(&after, PUBLISH) >= 1.0);
}
