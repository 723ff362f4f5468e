//! Bodies in proportion to trust: what strangers send is only checked, and every cost is limited.

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, StatusCode};
use serde_json::json;

use crate::harness::{Replica, Response, request, vars};
use crate::wire::replica;

const MAX_BODY: usize = 4 * 1024 * 1024;
/// The part of a body without a valid token that is checked.
const MAX_CHECKED: usize = 64 * 1024;
/// The size of the largest response that describes invalid input.
const MAX_INVALID: usize = 16 * 1024;

/// A body that consists of a repeated part, as large as allowed.
fn repeated(open: &str, part: &str, close: &str) -> String {
    let parts = (MAX_BODY - open.len() - close.len()) / (part.len() + 1);
    format!("{open}{}{close}", vec![part; parts].join(","))
}

fn put(who: &str, body: Body) -> Request<Body> {
    let mut request = request(Method::PUT, "/live-data/mari/script", who, None);
    let json = "application/json".parse().unwrap();
    request.headers_mut().insert("content-type", json);
    *request.body_mut() = body;
    request
}

async fn send(replica: &Replica, who: &str, body: &str) -> Response {
    replica.send(put(who, Body::from(body.to_owned()))).await
}

#[tokio::test]
async fn bodies_of_any_shape_get_the_status_of_their_sender() {
    let replica = replica();
    for (body, user) in [
        (repeated("[", "[0]", "]"), 413),
        (repeated("[", r#"{"":0}"#, "]"), 413),
        (repeated(r#"{"value":["#, r#""abcdefgh""#, "]}"), 413),
        (format!(r#"{{"value":["{}"]}}"#, "x".repeat(4_000_000)), 422),
        ("[".repeat(100) + &"]".repeat(100), 422),
    ] {
        for (who, status) in [("none", 401), ("garbage", 403), ("user", user)] {
            let response = send(&replica, who, &body).await;
            let shape: String = body.chars().take(20).collect();
            assert_eq!(response.status, status, "{who} {shape}");
        }
    }
    // Only the beginning of a stranger's body is checked.
    let valid = repeated("[", "[0]", "]");
    for (length, status) in [(MAX_CHECKED, 422), (MAX_CHECKED + 1, 401)] {
        let cut = &valid[..length];
        assert_eq!(send(&replica, "none", cut).await.status, status, "{length}");
    }
    let invalid = format!("[}}{}", &valid[2..]);
    assert_eq!(send(&replica, "none", &invalid).await.status, 422);
    let deep = "[".repeat(200) + &"]".repeat(200);
    assert_eq!(send(&replica, "none", &deep).await.status, 422);
    assert_eq!(
        send(&replica, "none", &"x".repeat(MAX_BODY + 1))
            .await
            .status,
        413
    );
}

#[tokio::test]
async fn a_chunked_body_is_limited_and_checked_as_a_whole_one() {
    let replica = replica();
    let chunked = |parts: Vec<&'static [u8]>| {
        let parts = parts
            .into_iter()
            .map(|part| Ok::<_, std::io::Error>(Bytes::from_static(part)));
        put("none", Body::from_stream(stream::iter(parts)))
    };
    for (parts, status) in [
        (vec![&b"{\"value\":\"\xe2"[..], b"\x82", b"\xac\"}"], 401),
        (vec![b"{\"value\":\"\xe2", b"\"}"], 400),
        (vec![b"{\"val", b"ue\":1"], 422),
        (vec![b"", b""], 401),
        (vec![&[b' '; 1 << 20]; 5], 413),
    ] {
        let response = replica.send(chunked(parts)).await;
        assert_eq!(response.status, status);
    }
}

#[tokio::test]
async fn the_description_of_invalid_input_is_limited() {
    let replica = replica();
    let many = |key: &str| {
        let fields = (0..30_000).map(|n| format!(r#""{key}{n}":1"#));
        format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
    };
    let long = format!(r#"{{"{}":1}}"#, "\u{10ffff}".repeat(1_000_000));
    for (path, body) in [
        ("/instrument/mari/latest-run", many("k")),
        ("/instrument/mari/latest-run", many("\u{10ffff}\\\\\\n")),
        ("/instrument/mari/latest-run", long.clone()),
    ] {
        let mut invalid = put("staff", Body::from(body));
        *invalid.uri_mut() = path.parse().unwrap();
        let response = replica.send(invalid).await;
        assert_eq!(response.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(
            response.body.len() <= MAX_INVALID,
            "{}",
            response.body.len()
        );
    }
    let mut archive = request(Method::POST, "/job/download-zip", "staff", Some(&json!({})));
    *archive.body_mut() = Body::from(long);
    let response = replica.send(archive).await;
    assert_eq!(response.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        response.body.len() <= MAX_INVALID,
        "{}",
        response.body.len()
    );
}

#[tokio::test]
async fn the_files_of_an_archive_are_counted_before_they_are_validated() {
    let replica = Replica::new(&[&vars(&[("MAX_ZIP_FILES", "3")])]);
    for (body, status) in [
        (json!({"x": [1, 2, 3]}), 422),
        (json!({"x": [1, 2, 3, 4]}), 413),
        (json!({"x": [1, 2], "y": [], "z": null}), 413),
        (json!([1, 2, 3, 4]), 422),
    ] {
        let archive = request(Method::POST, "/job/download-zip", "staff", Some(&body));
        assert_eq!(replica.send(archive).await.status, status, "{body}");
    }
    let body = json!({"x": [1, 2, 3, 4]});
    let archive = request(Method::POST, "/job/download-zip", "none", Some(&body));
    assert_eq!(replica.send(archive).await.status, StatusCode::UNAUTHORIZED);
}
