//! CORS headers and preflight requests.

use axum::body::Body;
use http::{Method, Request, StatusCode};

use crate::harness::{Replica, Response, request, vars};
use crate::wire::replica;

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
