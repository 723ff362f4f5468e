//! Compressed responses: which are, how caches tell them apart, and what stays as it is.

use std::io::Read as _;

use flate2::read::GzDecoder;
use http::{HeaderValue, Method, header};

use crate::harness::{Fixture, Replica, Response, request, vars};

const LIST: &str = "/jobs?limit=25&include_run=true";

async fn get_accepting(replica: &Replica, path: &str, accept: &str) -> Response {
    let mut request = request(Method::GET, path, "apikey", None);
    let accept = HeaderValue::try_from(accept).unwrap();
    request
        .headers_mut()
        .insert(header::ACCEPT_ENCODING, accept);
    replica.send(request).await
}

fn decode(response: &Response) -> Vec<u8> {
    let mut decoded = Vec::new();
    match response.header("content-encoding") {
        "gzip" => {
            GzDecoder::new(&*response.body)
                .read_to_end(&mut decoded)
                .unwrap();
        }
        "br" => brotli::BrotliDecompress(&mut &*response.body, &mut decoded).unwrap(),
        other => panic!("unexpected encoding `{other}`"),
    }
    decoded
}

fn vary(response: &Response) -> Vec<&str> {
    let values = response.headers.get_all(header::VARY).iter();
    values.map(|value| value.to_str().unwrap()).collect()
}

#[tokio::test]
async fn a_cached_list_is_compressed_at_every_cache_level() {
    let fixture = Fixture::new().await;
    let replica = fixture.replica().await;
    let plain = replica.get(LIST, "apikey").await;
    assert!(plain.headers.get(header::CONTENT_ENCODING).is_none());
    assert_eq!(vary(&plain), ["Origin", "accept-encoding"]);
    // From the shared level, then from the local one.
    for _ in 0..3 {
        for encoding in ["gzip", "br"] {
            let response = get_accepting(&replica, LIST, encoding).await;
            assert_eq!(decode(&response), plain.body, "{encoding}");
            assert!(response.body.len() * 2 <= plain.body.len(), "{encoding}");
            assert_ne!(response.header("etag"), plain.header("etag"));
            assert_eq!(vary(&response), ["Origin", "accept-encoding"]);
        }
    }
    assert_eq!(replica.get(LIST, "apikey").await.body, plain.body);
}

#[tokio::test]
async fn an_etag_revalidates_only_its_own_encoding() {
    let fixture = Fixture::new().await;
    let replica = fixture.replica().await;
    let gzip = get_accepting(&replica, LIST, "gzip").await;
    for (accept, status) in [("gzip", 304), ("br", 200), ("identity", 200)] {
        let mut request = request(Method::GET, LIST, "apikey", None);
        let headers = request.headers_mut();
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(accept));
        headers.insert(header::IF_NONE_MATCH, gzip.headers[header::ETAG].clone());
        assert_eq!(replica.send(request).await.status, status, "{accept}");
    }
}

#[tokio::test]
async fn uncached_bodies_and_documentation_are_compressed() {
    let fixture = Fixture::new().await;
    let replica = fixture
        .replica_with(&vars(&[("JOB_LIST_CACHE_TTL_SECONDS", "0")]))
        .await;
    for path in [LIST, "/openapi.json", "/docs/swagger-ui-bundle.js"] {
        let plain = replica.get(path, "apikey").await;
        let response = get_accepting(&replica, path, "gzip, deflate, br").await;
        assert_eq!(decode(&response), plain.body, "{path}");
        assert!(response.body.len() * 2 <= plain.body.len(), "{path}");
        assert!(vary(&response).contains(&"accept-encoding"), "{path}");
    }
}

#[tokio::test]
async fn small_bodies_errors_and_unaccepted_encodings_stay_as_they_are() {
    let fixture = Fixture::new().await;
    let replica = fixture.replica().await;
    for (path, accept) in [
        ("/healthz", "gzip"),
        ("/jobs/count", "gzip"),
        ("/job/abc", "gzip"),
        (LIST, "identity"),
        (LIST, "gzip;q=0, br;q=0"),
        (LIST, "zstd"),
    ] {
        let plain = replica.get(path, "apikey").await;
        let response = get_accepting(&replica, path, accept).await;
        assert_eq!(response.body, plain.body, "{path}");
        assert!(response.headers.get(header::CONTENT_ENCODING).is_none());
    }
}
