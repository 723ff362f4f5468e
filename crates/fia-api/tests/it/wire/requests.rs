//! Order of checks, body parsing, request ids and overload.

use axum::body::Body;
use http::{Method, StatusCode};
use serde_json::json;

use crate::harness::{Replica, Response, request, vars};
use crate::wire::replica;

async fn put_script(replica: &Replica, who: &str, content_type: &str, body: &[u8]) -> Response {
    let mut request = request(Method::PUT, "/live-data/a%00b/script", who, None);
    request
        .headers_mut()
        .insert("content-type", content_type.parse().unwrap());
    *request.body_mut() = Body::from(body.to_vec());
    replica.send(request).await
}

/// Body syntax, bearer, token, values, role: each check hides the later ones.
#[tokio::test]
async fn checks_run_in_the_recorded_order() {
    let replica = replica();
    let json = "application/json";
    for (who, body, status) in [
        ("none", "{", 422),
        ("none", r#"{"value":1}"#, 401),
        ("garbage", r#"{"value":1}"#, 403),
        ("expired", r#"{"value":1}"#, 403),
        ("norole", r#"{"value":1}"#, 403),
        ("nouser", r#"{"value":1}"#, 403),
        ("user", r#"{"value":1}"#, 422),
    ] {
        let response = put_script(&replica, who, json, body.as_bytes()).await;
        assert_eq!(response.status, status, "{who} {body}");
    }
    let role = replica
        .put("/live-data/x/script", "user", &json!({"value": "x"}))
        .await;
    assert_eq!(role.status, StatusCode::FORBIDDEN);
    assert_eq!(role.text(), r#"{"message":"Forbidden"}"#);
}

#[tokio::test]
async fn bodies_are_parsed_as_the_legacy_server_parses_them() {
    let replica = replica();
    for (content_type, body, status, message) in [
        ("application/json", &b""[..], 422, "'missing'"),
        ("application/json", b"null", 422, "'missing'"),
        ("application/json", b"[]", 422, "model_attributes_type"),
        (
            "application/json",
            b"\xff",
            400,
            "There was an error parsing the body",
        ),
        ("application/json", b"nope", 422, "json_invalid"),
        (
            "application/json",
            br#"{"value":"\ud800"}"#,
            422,
            "json_invalid",
        ),
        (
            "application/json",
            b"\xef\xbb\xbf{}",
            422,
            "('body', 'value')",
        ),
        (
            "text/plain",
            br#"{"value":"x"}"#,
            422,
            "model_attributes_type",
        ),
        // Two errors: NUL in the path and NUL in the body.
        (
            "application/ld+json",
            br#"{"value":"\u0000"}"#,
            422,
            "2 validation errors",
        ),
    ] {
        let response = put_script(&replica, "staff", content_type, body).await;
        assert_eq!(response.status, status, "{body:?}");
        assert!(response.text().contains(message), "{}", response.text());
    }
}

#[tokio::test]
async fn an_oversized_body_is_rejected_before_any_other_check() {
    let replica = Replica::new(&[&vars(&[("MAX_BODY_BYTES", "64")])]);
    let body = json!({"value": "x".repeat(64)});
    let response = replica.put("/live-data/mari/script", "none", &body).await;
    assert_eq!(response.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn every_response_carries_a_request_id() {
    let replica = replica();
    let mut named = request(Method::GET, "/nope", "none", None);
    named
        .headers_mut()
        .insert("x-request-id", "from-the-gateway.1".parse().unwrap());
    assert_eq!(
        replica.send(named).await.header("x-request-id"),
        "from-the-gateway.1"
    );
    let (a, b) = tokio::join!(
        replica.get("/healthz", "none"),
        replica.get("/healthz", "none")
    );
    assert!(!a.header("x-request-id").is_empty());
    assert_ne!(a.header("x-request-id"), b.header("x-request-id"));
}

/// The only permitted request waits for a table lock; the others are rejected.
#[tokio::test]
async fn overload_is_503_at_once_except_for_probes() {
    let database = crate::harness::Database::seeded().await;
    let few = vars(&[("MAX_IN_FLIGHT", "1")]);
    let replica = Replica::new(&[&database.vars(), &few]);
    let client = database.client().await;
    client
        .batch_execute("BEGIN; LOCK TABLE instruments")
        .await
        .unwrap();
    let waiting = replica.get("/live-data/mari/script", "none");
    let others = async {
        for path in ["/live-data/mari/script", "/nope"] {
            let response = replica.get(path, "none").await;
            assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
            assert_eq!(response.header("retry-after"), "1");
        }
        assert_eq!(
            replica.get("/api/healthz", "none").await.status,
            StatusCode::OK
        );
        client.batch_execute("COMMIT").await.unwrap();
    };
    let (first, ()) = tokio::join!(waiting, others);
    assert_eq!(first.status, StatusCode::OK);
    assert_eq!(
        replica.get("/nope", "none").await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn server_timing_is_sent_at_debug_only() {
    for (level, is_sent) in [("debug", true), ("trace", true), ("info", false)] {
        let replica = Replica::new(&[&vars(&[("LOG_LEVEL", level)])]);
        let response = replica.get("/healthz", "none").await;
        let timing = response.header("server-timing");
        assert_eq!(
            timing.starts_with("total;dur="),
            is_sent,
            "{level}: {timing}"
        );
    }
}
