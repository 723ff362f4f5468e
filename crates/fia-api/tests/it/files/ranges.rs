//! Byte ranges and `HEAD`.

use std::fs;

use http::{HeaderMap, Method, StatusCode};

use crate::files::{FOLDER, download, replica};
use crate::harness::request;
use crate::sample_files::SampleFiles;

#[tokio::test]
async fn byte_ranges_are_served() {
    let files = SampleFiles::new();
    let content: Vec<u8> = (0..1000_u16).map(|i| i.to_le_bytes()[0]).collect();
    fs::write(files.reduced(FOLDER).join("r"), &content).unwrap();
    let (replica, _database) = replica(&files).await;
    let whole = download(&replica, "r", &[]).await;
    assert_eq!(whole.body, content);
    assert_eq!(whole.header("accept-ranges"), "bytes");
    let (tag, modified) = (whole.header("etag"), whole.header("last-modified"));
    assert_eq!((tag.len(), modified.len()), (34, 29));

    for (range, part, content_range) in [
        ("bytes=0-9", 0..10, "bytes 0-9/1000"),
        ("bytes=990-", 990..1000, "bytes 990-999/1000"),
        ("bytes=-1", 999..1000, "bytes 999-999/1000"),
    ] {
        let response = download(&replica, "r", &[("range", range)]).await;
        assert_eq!(response.status, StatusCode::PARTIAL_CONTENT, "{range}");
        assert_eq!(response.header("content-range"), content_range);
        assert_eq!(response.body, content[part]);
    }
    for (mark, status) in [
        (tag, StatusCode::PARTIAL_CONTENT),
        (modified, StatusCode::PARTIAL_CONTENT),
        ("\"other\"", StatusCode::OK),
    ] {
        let headers = [("range", "bytes=0-0"), ("if-range", mark)];
        assert_eq!(download(&replica, "r", &headers).await.status, status);
    }
    let unsupported = [("if-none-match", tag), ("if-modified-since", modified)];
    assert_eq!(
        download(&replica, "r", &unsupported).await.status,
        StatusCode::OK
    );

    let beyond = download(&replica, "r", &[("range", "bytes=1000-")]).await;
    assert_eq!(beyond.status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(beyond.header("content-range"), "bytes */1000");
    let malformed = download(&replica, "r", &[("range", "bytes=x")]).await;
    assert_eq!(malformed.status, StatusCode::BAD_REQUEST);
    assert_eq!(malformed.text(), "Malformed range header.");
}

#[tokio::test]
async fn several_ranges_are_a_multipart_body_of_the_declared_length() {
    let files = SampleFiles::new();
    fs::write(files.reduced(FOLDER).join("r"), "0123456789").unwrap();
    let (replica, _database) = replica(&files).await;
    let response = download(&replica, "r", &[("range", "bytes=8-,0-1")]).await;
    assert_eq!(response.status, StatusCode::PARTIAL_CONTENT);
    let kind = response.header("content-type");
    let boundary = kind
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap();
    let part = |range, text| {
        format!(
            "--{boundary}\r\nContent-Type: application/octet-stream\r\n\
             Content-Range: bytes {range}/10\r\n\r\n{text}\r\n"
        )
    };
    let expected = part("0-1", "01") + &part("8-9", "89") + &format!("--{boundary}--\r\n");
    assert_eq!(response.text(), expected);
    assert_eq!(
        response.header("content-length"),
        expected.len().to_string()
    );
}

#[tokio::test]
async fn head_is_served_for_downloads_only() {
    let files = SampleFiles::new();
    let (replica, _database) = replica(&files).await;
    let head = |path: &str| request(Method::HEAD, path, "staff", None);
    let whole = replica.get("/job/1/filename/MAR1.nxspe", "staff").await;
    let mut request = head("/api/job/1/filename/MAR1.nxspe");
    request
        .headers_mut()
        .insert("range", "bytes=0-0".parse().unwrap());
    let response = replica.send(request).await;
    assert_eq!(response.status, StatusCode::OK);
    assert!(response.body.is_empty());
    let described = |headers: &HeaderMap| {
        [
            "content-length",
            "etag",
            "last-modified",
            "content-disposition",
        ]
        .map(|name| headers.get(name).cloned().unwrap())
    };
    assert_eq!(described(&response.headers), described(&whole.headers));
    let missing = replica.send(head("/job/1/filename/nope")).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    for path in [
        "/job/1",
        "/extras/",
        "/job/1/filename/",
        "/job/1/filename/a/b",
    ] {
        let status = replica.send(head(path)).await.status;
        assert!(status.is_client_error(), "{path}: {status}");
    }
}
