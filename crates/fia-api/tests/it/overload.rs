//! Admission: what is refused at once, and what is never refused.

use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{StreamExt as _, stream};
use http::{Method, Request, StatusCode};
use serde_json::json;

use crate::harness::{Database, Replica, eventually, request, vars};

/// A request whose body has begun, and never ends.
fn half_sent(who: &str) -> Request<Body> {
    let mut request = request(Method::PUT, "/live-data/mari/script", who, None);
    let json = "application/json".parse().unwrap();
    request.headers_mut().insert("content-type", json);
    let begun = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"{\"value\":"))]);
    *request.body_mut() = Body::from_stream(begun.chain(stream::pending()));
    request
}

/// Takes 9 s, the time limit of a body.
#[tokio::test]
async fn half_sent_bodies_take_nothing_from_others() {
    let replica = Replica::new(&[&vars(&[("MAX_IN_FLIGHT", "2"), ("MAX_RECEIVING", "20")])]);
    let half_sent: Vec<_> = (0..100)
        .map(|n| {
            let edge = replica.edge();
            let who = if n % 2 == 0 { "none" } else { "user" };
            tokio::spawn(async move { edge.handle(half_sent(who)).await.status() })
        })
        .collect();
    let bodies = &replica.state.admission.bodies;
    eventually(Duration::from_secs(5), async || {
        bodies.refused() == 80 && bodies.in_use() == 20
    })
    .await;
    for _ in 0..100 {
        for (method, path, body, status) in [
            (Method::GET, "/nope", None, 404),
            (Method::GET, "/healthz", None, 200),
            // Received as a whole, and invalid.
            (Method::PUT, "/live-data/mari/script", Some(json!({})), 422),
        ] {
            let legitimate = request(method, path, "staff", body.as_ref());
            assert_eq!(replica.send(legitimate).await.status, status, "{path}");
        }
    }
    let mut statuses: Vec<_> = join_all(half_sent)
        .await
        .into_iter()
        .map(|status| status.unwrap().as_u16())
        .collect();
    statuses.sort_unstable();
    // Those of legitimate senders made further ones give way.
    let timed_out = statuses.iter().filter(|status| **status == 408).count();
    assert!((1..=20).contains(&timed_out), "{statuses:?}");
    let evicted = &statuses[timed_out..];
    assert!(evicted.iter().all(|status| *status == 503), "{statuses:?}");
}

#[tokio::test]
async fn routes_without_a_token_have_a_rate_limit() {
    let replica = Replica::new(&[&vars(&[
        ("OPEN_RATE_LIMIT", "2"),
        ("REQUIRE_AUTH_COUNTS", "off"),
    ])]);
    let bad = "/jobs/count?filters=x";
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(replica.get(bad, "none").await.status.as_u16());
    }
    assert_eq!(statuses, [400, 400, 429]);
    let refused = replica.get("/live-data/mari/script", "none").await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.header("retry-after"), "1");
    for (path, who, status) in [
        ("/healthz", "none", 200),
        ("/openapi.json", "none", 200),
        ("/job/x", "user", 422),
    ] {
        assert_eq!(replica.get(path, who).await.status, status, "{path}");
    }
    let unlimited = Replica::new(&[]);
    for _ in 0..50 {
        assert_eq!(unlimited.get(bad, "none").await.status, 400);
    }
}

/// Takes 3 s, the time limit of a statement.
#[tokio::test]
async fn a_request_that_would_wait_too_long_is_refused_at_once() {
    let database = Database::seeded().await;
    let replica = Replica::new(&[&database.vars(), &vars(&[("DB_POOL_SIZE", "1")])]);
    let client = database.client().await;
    let lock = "BEGIN; LOCK TABLE instruments";
    client.batch_execute(lock).await.unwrap();
    // The measured service time becomes long.
    let slow = replica.get("/live-data/mari/script", "none").await;
    assert_eq!(slow.status, StatusCode::SERVICE_UNAVAILABLE);

    let served = replica.get("/live-data/mari/script", "none");
    let others = async {
        eventually(Duration::from_secs(5), async || {
            replica.state.db.connections().in_use == 1
        })
        .await;
        let start = Instant::now();
        let refused = replica.get("/live-data/enginx/script", "none").await;
        let elapsed = start.elapsed();
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refused.header("retry-after"), "1");
        assert!(elapsed < Duration::from_millis(250), "{elapsed:?}");
        assert_eq!(replica.state.db.refused(), 1);
        // Probes wait for no work.
        for path in ["/ready", "/healthz"] {
            assert_eq!(replica.get(path, "none").await.status, StatusCode::OK);
        }
        client.batch_execute("COMMIT").await.unwrap();
    };
    let (served, ()) = tokio::join!(served, others);
    assert_eq!(served.status, StatusCode::OK);
}
