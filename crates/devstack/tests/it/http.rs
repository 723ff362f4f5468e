//! The HTTP client: kept-alive connections, streamed bodies, servers that close.

use std::net::SocketAddr;

use ::http::Method;
use devstack::http::Connection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A server that accepts one connection, sends `responses`, each after one request, and closes.
/// Returns the requests, which must have no body.
async fn serve(responses: &'static [&str]) -> (SocketAddr, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut requests = Vec::new();
        for response in responses {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            requests.push(String::from_utf8(request).unwrap());
            stream.write_all(response.as_bytes()).await.unwrap();
        }
        requests
    });
    (address, server)
}

#[tokio::test]
async fn requests_share_a_connection_and_carry_the_authorization() {
    let (address, server) = serve(&[
        "HTTP/1.1 200 OK\r\nx-test: one\r\ncontent-length: 5\r\n\r\nfirst",
        "HTTP/1.1 404 Not Found\r\ntransfer-encoding: chunked\r\n\r\n3\r\nsec\r\n3\r\nond\r\n0\r\n\r\n",
    ])
    .await;
    let mut connection = Connection::open(address, "Bearer x").await.unwrap();
    let first = connection.get("/a?b=c").await.unwrap();
    assert_eq!((first.status, first.body.as_slice()), (200, &b"first"[..]));
    assert_eq!(first.header("X-Test"), Some("one"));
    let second = connection.get("/d").await.unwrap();
    assert_eq!(
        (second.status, second.body.as_slice()),
        (404, &b"second"[..])
    );
    let requests = server.await.unwrap();
    assert!(requests[0].starts_with("GET /a?b=c HTTP/1.1\r\n"));
    for request in requests {
        assert!(
            request.contains("\r\nauthorization: Bearer x\r\n"),
            "{request}"
        );
        assert!(
            request.contains(&format!("\r\nhost: {address}\r\n")),
            "{request}"
        );
    }
}

#[tokio::test]
async fn a_response_that_closes_the_connection_is_complete() {
    let (address, server) =
        serve(&["HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nuntil close"]).await;
    let mut connection = Connection::open_anonymous(address).await.unwrap();
    assert_eq!(connection.get("/").await.unwrap().body, b"until close");
    assert!(
        connection.get("/").await.is_err(),
        "the connection is closed"
    );
    assert!(!server.await.unwrap()[0].contains("authorization"));
}

#[tokio::test]
async fn a_truncated_response_is_an_error() {
    for truncated in [
        &["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort"][..],
        &["HTTP/1.1 200 OK\r\ncontent-"],
        &[""],
    ] {
        let (address, _server) = serve(truncated).await;
        let mut connection = Connection::open_anonymous(address).await.unwrap();
        assert!(connection.get("/").await.is_err(), "{truncated:?}");
    }
}

#[tokio::test]
async fn a_body_is_streamed_to_its_end() {
    let (address, _server) = serve(&[
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    ])
    .await;
    let connection = Connection::open_anonymous(address).await.unwrap();
    let mut stream = connection.stream(Method::GET, "/", &[], "").await.unwrap();
    let mut body = Vec::new();
    while let Some(chunk) = stream.chunk().await.unwrap() {
        body.extend_from_slice(&chunk);
    }
    assert_eq!((stream.status, body.as_slice()), (200, &b"abcde"[..]));
}

#[tokio::test]
async fn a_truncated_stream_is_an_error_after_its_chunks() {
    let (address, _server) =
        serve(&["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"]).await;
    let connection = Connection::open_anonymous(address).await.unwrap();
    let mut stream = connection.stream(Method::GET, "/", &[], "").await.unwrap();
    assert_eq!(stream.chunk().await.unwrap().unwrap(), &b"abc"[..]);
    assert!(stream.chunk().await.is_err());
}
