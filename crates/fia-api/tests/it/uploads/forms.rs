//! The forms that uploads arrive in.

use std::fs;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::{Method, StatusCode};

use crate::harness::{Vars, eventually, request};
use crate::sample_files::{SampleFiles, form};
use crate::uploads::{names, replica, upload_request};

#[tokio::test]
async fn malformed_forms_are_rejected() {
    let files = SampleFiles::new();
    let replica = replica(&files, &Vars::new());
    let (kind, _) = form("file", "");
    let plain =
        "--parts\r\ncontent-disposition: form-data; name=\"file\"\r\n\r\nx\r\n--parts--\r\n";
    let whole = form("file", "x").1;
    for (kind, body, status) in [
        (kind, form("other", "x").1, 422),
        (kind, plain.to_owned(), 422),
        ("application/json", "{}".to_owned(), 422),
        (
            "application/x-www-form-urlencoded",
            "file=x".to_owned(),
            422,
        ),
        ("multipart/form-data", whole.clone(), 400),
        (kind, whole[..whole.len() - 12].to_owned(), 400),
        (kind, "nonsense".to_owned(), 400),
        (kind, whole, 200),
    ] {
        let sent = upload_request("/extras/mari/a.txt", kind, body.clone());
        let response = replica.send(sent).await;
        assert_eq!(
            response.status,
            status,
            "{kind} {body}: {}",
            response.text()
        );
    }
}

#[tokio::test]
async fn spellings_that_the_older_server_takes_are_accepted() {
    let files = SampleFiles::new();
    let replica = replica(&files, &Vars::new());
    let whole = form("file", "x").1;
    let bounded = |boundary: &str| whole.replace("parts", boundary);
    let disposed = |from: &str, to: &str| {
        let body = whole.to_lowercase().replace(from, to);
        assert_ne!(body, whole.to_lowercase(), "{from}");
        body
    };
    for (kind, body) in [
        ("Multipart/Form-Data; Boundary=parts", whole.clone()),
        ("multipart/form-data ; boundary=parts", whole.clone()),
        (
            "multipart/form-data; boundary=a=b:c/d?e",
            bounded("a=b:c/d?e"),
        ),
        (
            "multipart/form-data; boundary=x; boundary=parts",
            whole.clone(),
        ),
        (
            "multipart/form-data; boundary=parts",
            disposed(" name=", " NAME="),
        ),
        (
            "multipart/form-data; boundary=parts",
            disposed("filename=", "FileName="),
        ),
    ] {
        let sent = upload_request("/extras/mari/a.txt", kind, body.clone());
        let response = replica.send(sent).await;
        assert_eq!(response.status, 200, "{kind} {body}: {}", response.text());
    }
}

#[tokio::test]
async fn the_last_of_several_parts_is_stored() {
    let files = SampleFiles::new();
    let replica = replica(&files, &Vars::new());
    let (kind, first) = form("file", "first");
    let body = first.replace("--parts--\r\n", "") + &form("file", "last").1;
    let response = replica
        .send(upload_request("/extras/mari/a.txt", kind, body))
        .await;
    assert_eq!(response.status, StatusCode::OK);
    assert_eq!(
        fs::read_to_string(files.extras("mari/a.txt")).unwrap(),
        "last"
    );
    eventually(Duration::from_secs(2), async || {
        names(&files, "mari") == ["a.txt", "mask.xml"]
    })
    .await;
}

#[tokio::test]
async fn authorisation_is_checked_before_the_body_is_read() {
    let files = SampleFiles::new();
    let replica = replica(&files, &Vars::new());
    for (who, status) in [("none", 401), ("garbage", 403), ("user", 403)] {
        let mut sent = request(Method::POST, "/extras/mari/a.txt", who, None);
        *sent.body_mut() = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        assert_eq!(replica.send(sent).await.status, status, "{who}");
    }
}
