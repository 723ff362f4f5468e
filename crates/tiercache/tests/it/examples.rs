//! The examples, run against servers of the tests.

use std::net::SocketAddr;

use devstack::{Valkey, shared};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::wait_until;

#[path = "../../examples/two_replicas.rs"]
#[expect(dead_code, reason = "the test calls `run` instead of `main`")]
mod two_replicas;
#[path = "../../examples/users.rs"]
#[expect(dead_code, reason = "the test calls `run` instead of `main`")]
mod users;
#[path = "../../examples/web.rs"]
#[expect(dead_code, reason = "the test calls `serve` instead of `main`")]
mod web;

#[limited::test]
async fn two_replicas_and_a_foreign_writer() {
    let valkey = Valkey::start().await.unwrap();
    limited::waiting("the example", two_replicas::run(&valkey.url()))
        .await
        .unwrap();
}

/// The URL of a database with the table that the examples need.
async fn database() -> String {
    let postgres = shared::postgres().await.unwrap();
    let name = shared::unique_name("examples");
    postgres.create_empty_database(&name).await.unwrap();
    let client = postgres.connect(&name).await.unwrap();
    let table = "CREATE TABLE users (id BIGINT PRIMARY KEY, name TEXT NOT NULL);
        INSERT INTO users VALUES (7, 'Ada'), (8, 'Edsger')";
    client.batch_execute(table).await.unwrap();
    postgres.url(&name)
}

#[limited::test]
async fn a_table_of_users() {
    let valkey = Valkey::start().await.unwrap();
    limited::waiting("the example", users::run(&valkey.url(), &database().await))
        .await
        .unwrap();
}

async fn request(service: SocketAddr, request: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(service).await.unwrap();
    let length = body.len();
    let head = format!("{request} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n");
    let request =
        format!("{head}content-type: text/plain\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response
}

#[limited::test]
async fn a_web_service() {
    let valkey = Valkey::start().await.unwrap();
    let database = database().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let service = listener.local_addr().unwrap();
    let url = valkey.url();
    let serving = async { web::serve(listener, &url, &database).await.unwrap() };
    let requests = async {
        let first = request(service, "GET /users/7", "").await;
        assert!(
            first.contains("x-cache: loaded") && first.ends_with("\r\nAda"),
            "{first}"
        );
        // The cache connects in the background.
        let is_cached = async || {
            let response = request(service, "GET /users/7", "").await;
            assert!(response.ends_with("\r\nAda"), "{response}");
            !response.contains("x-cache: loaded")
        };
        wait_until("a cached response", is_cached).await;
        let renamed = request(service, "PUT /users/7", "Grace").await;
        assert!(renamed.starts_with("HTTP/1.1 204"), "{renamed}");
        let third = request(service, "GET /users/7", "").await;
        assert!(third.ends_with("\r\nGrace"), "{third}");
        for missing in ["GET /users/9", "PUT /users/9"] {
            let response = request(service, missing, "").await;
            assert!(response.starts_with("HTTP/1.1 404"), "{response}");
        }
    };
    tokio::select! {
        () = serving => unreachable!("it serves until it is dropped"),
        () = requests => {}
    }
}
