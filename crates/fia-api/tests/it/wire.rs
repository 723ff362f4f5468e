//! HTTP behaviour outside the routes: paths, methods, redirects, CORS, limits, documents.

use axum::body::Body;
use http::{Method, Request, StatusCode};
use serde_json::json;

use crate::harness::{Replica, Response, request, vars};

/// A replica without a database.
fn replica() -> Replica {
    Replica::new(&[])
}

#[tokio::test]
async fn routes_are_served_with_and_without_the_api_prefix() {
    let replica = replica();
    for (path, status) in [
        ("/healthz", 200),
        ("/api/healthz", 200),
        ("/%68ealthz", 200),
        ("/api/api/healthz", 404),
        ("/apix", 404),
        ("/api", 404),
        ("/api/", 404),
        ("/", 404),
        ("//healthz", 404),
        ("/HEALTHZ", 404),
        ("/live-data/a%2Fb/script", 404),
    ] {
        let response = replica.get(path, "none").await;
        assert_eq!(response.status, status, "{path}");
        if status == 404 {
            assert_eq!(response.text(), r#"{"detail":"Not Found"}"#, "{path}");
        }
    }
}

/// The legacy server routes such paths literally.
#[tokio::test]
async fn dot_segments_are_not_resolved() {
    let replica = replica();
    for path in [
        "/docs/../healthz",
        "/docs/%2e%2e/healthz",
        "/./healthz",
        "/live-data/../script/",
    ] {
        let response = replica.get(path, "none").await;
        assert_eq!(response.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(
            response.text(),
            r#"{"message":"Resource not found"}"#,
            "{path}"
        );
    }
}

#[tokio::test]
async fn dev_mode_drops_the_prefix_and_authentication() {
    let replica = Replica::new(&[&vars(&[("DEV_MODE", "on")])]);
    for (path, status) in [("/healthz", 200), ("//healthz", 200), ("/api/healthz", 404)] {
        assert_eq!(replica.get(path, "none").await.status, status, "{path}");
    }
    let document = replica.get("/openapi.json", "none").await.json();
    assert_eq!(document.get("servers"), None);
    // Authentication passed; 503 is the missing database.
    let response = replica.get("/instrument/MARI/latest-run", "none").await;
    assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn trailing_slash_redirects_are_relative() {
    let replica = replica();
    for (path, location) in [
        ("/healthz/", "../healthz"),
        ("/api/healthz/", "../healthz"),
        (
            "/live-data/instruments/?a=%20b&c",
            "../instruments?a=%20b&c",
        ),
        ("/live-data/mari/script/", "../script"),
    ] {
        let response = replica.get(path, "none").await;
        assert_eq!(response.status, StatusCode::TEMPORARY_REDIRECT, "{path}");
        assert_eq!(response.header("location"), location, "{path}");
        assert!(response.body.is_empty());
    }
    assert_eq!(
        replica.get("/nope/", "none").await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn a_wrong_method_is_405_with_the_first_allowed_method() {
    let replica = replica();
    for (method, path) in [
        (Method::DELETE, "/instrument/mari/specification"),
        (Method::POST, "/healthz"),
        (Method::HEAD, "/healthz"),
        (Method::OPTIONS, "/healthz"),
    ] {
        let response = replica
            .send(request(method.clone(), path, "none", None))
            .await;
        assert_eq!(
            response.status,
            StatusCode::METHOD_NOT_ALLOWED,
            "{method} {path}"
        );
        assert_eq!(response.header("allow"), "GET", "{method} {path}");
        assert_eq!(response.text(), r#"{"detail":"Method Not Allowed"}"#);
    }
    let unknown = replica
        .send(request(Method::HEAD, "/nope", "none", None))
        .await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn every_response_carries_cors_headers() {
    let replica = replica();
    // 200, 404, 405, 401, 403, 422 and, without a database, 503.
    for (method, path, who) in [
        (Method::GET, "/healthz", "none"),
        (Method::GET, "/nope", "none"),
        (Method::POST, "/healthz", "none"),
        (Method::GET, "/instrument/mari/latest-run", "none"),
        (Method::GET, "/instrument/mari/latest-run", "user"),
        (Method::GET, "/live-data/a%00b/script", "none"),
        (Method::GET, "/ready", "none"),
    ] {
        let mut request = request(method, path, who, None);
        request
            .headers_mut()
            .insert("origin", "null".parse().unwrap());
        let response = replica.send(request).await;
        assert_eq!(
            response.header("access-control-allow-origin"),
            "null",
            "{path}"
        );
        assert_eq!(
            response.header("access-control-allow-credentials"),
            "true",
            "{path}"
        );
        assert_eq!(response.header("vary"), "Origin", "{path}");
    }
    let plain = replica.get("/healthz", "none").await;
    assert_eq!(plain.header("access-control-allow-origin"), "");
    assert_eq!(plain.header("vary"), "Origin");
}

async fn preflight(replica: &Replica, headers: &[(&str, &str)]) -> Response {
    let mut request = Request::builder()
        .method(Method::OPTIONS)
        .uri("/no/such/path");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    replica.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn preflight_succeeds_on_any_path() {
    let replica = replica();
    let origin = ("origin", "https://reduce.example");
    let good = preflight(
        &replica,
        &[
            origin,
            ("access-control-request-method", "PUT"),
            ("access-control-request-headers", "authorization, x-y"),
        ],
    )
    .await;
    assert_eq!((good.status, good.text().as_str()), (StatusCode::OK, "OK"));
    assert_eq!(
        good.header("access-control-allow-headers"),
        "authorization, x-y"
    );
    assert_eq!(good.header("access-control-max-age"), "600");
    assert_eq!(
        good.header("access-control-allow-methods"),
        "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, QUERY"
    );

    let bad = preflight(
        &replica,
        &[origin, ("access-control-request-method", "BREW")],
    )
    .await;
    assert_eq!(bad.status, StatusCode::BAD_REQUEST);
    assert_eq!(bad.text(), "Disallowed CORS method");
    assert_eq!(bad.header("access-control-allow-headers"), "");

    assert_eq!(
        preflight(&replica, &[origin]).await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn cors_origins_restrict_the_allowed_origins() {
    let replica = Replica::new(&[&vars(&[(
        "ALLOWED_ORIGINS",
        "https://a.example, https://b.example",
    )])]);
    for (origin, allowed) in [
        ("https://b.example", "https://b.example"),
        ("https://c.example", ""),
    ] {
        let mut request = request(Method::GET, "/healthz", "none", None);
        request
            .headers_mut()
            .insert("origin", origin.parse().unwrap());
        let response = replica.send(request).await;
        assert_eq!(response.header("access-control-allow-origin"), allowed);
    }
    let request = ("access-control-request-method", "GET");
    let refused = preflight(&replica, &[("origin", "https://c.example"), request]).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
}

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
async fn documentation_pages_are_self_contained() {
    let replica = replica();
    for path in ["/docs", "/redoc", "/docs/oauth2-redirect"] {
        let page = replica.get(path, "none").await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        assert!(
            page.header("content-type").starts_with("text/html"),
            "{path}"
        );
        assert!(!page.text().contains("://cdn"), "{path}");
    }
    for (asset, media_type) in [
        ("swagger-ui.css", "text/css"),
        ("swagger-ui-bundle.js", "text/javascript"),
    ] {
        let response = replica.get(&format!("/docs/{asset}"), "none").await;
        assert_eq!(response.status, StatusCode::OK, "{asset}");
        assert_eq!(response.header("content-type"), media_type, "{asset}");
        assert!(response.body.len() > 10_000, "{asset}");
    }
    assert_eq!(
        replica.get("/docs/nope.js", "none").await.status,
        StatusCode::NOT_FOUND
    );
}
