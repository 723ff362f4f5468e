//! Paths, prefixes, redirects, methods and documentation pages.

use http::{Method, StatusCode};

use crate::harness::{Replica, request, vars};
use crate::wire::replica;

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
