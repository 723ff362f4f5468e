//! Shutdown with `FIA_API_SHUTDOWN_DELAY`: the replica serves until load balancers have noticed.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use fia_api::app::Server;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::sync::oneshot;

use crate::harness::{Database, Replica, defaults, eventually, vars, within};

const DELAY: Duration = Duration::from_secs(1);
/// Limit of every wait, far above the delay and the drain timeout.
const LIMIT: Duration = Duration::from_secs(20);

/// Sends a request and reads its response, without waiting for the end of the connection.
async fn exchange(stream: &mut TcpStream, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut received = Vec::new();
    let reading = async {
        // The bodies of both probes are JSON texts.
        while !received.ends_with(b"\"") && !received.ends_with(b"}") {
            assert!(stream.read_buf(&mut received).await.unwrap() > 0);
        }
    };
    within("the response", LIMIT, reading).await;
    String::from_utf8(received).unwrap()
}

async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    exchange(&mut stream, path).await
}

/// Reads until the server closes the connection; returns what arrived.
async fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut received = Vec::new();
    let ended = within("the end", LIMIT, stream.read_to_end(&mut received)).await;
    ended.unwrap();
    received
}

#[tokio::test]
async fn requests_are_served_and_idle_connections_kept_until_the_delay_is_over() {
    let database = Database::seeded().await;
    let replica = Replica::new(&[&database.vars()]);
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), replica.edge());
    let server = server.unwrap().shutdown_delay(DELAY);
    let address = server.address().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(server.run(async { drop(stopped.await) }));

    let mut used = TcpStream::connect(address).await.unwrap();
    let mut idle = TcpStream::connect(address).await.unwrap();
    for stream in [&mut used, &mut idle] {
        let before = exchange(stream, "/ready").await;
        assert!(before.starts_with("HTTP/1.1 200"), "{before}");
        assert!(!before.contains("connection: close"), "{before}");
    }
    let start = Instant::now();
    stop.send(()).unwrap();
    eventually(LIMIT, async || {
        get(address, "/ready").await.starts_with("HTTP/1.1 503")
    })
    .await;

    let alive = get(address, "/healthz").await;
    assert!(alive.starts_with("HTTP/1.1 200"), "{alive}");
    assert!(alive.contains("connection: close"), "{alive}");
    let reused = exchange(&mut used, "/healthz").await;
    assert!(reused.starts_with("HTTP/1.1 200"), "{reused}");
    assert!(reused.contains("connection: close"), "{reused}");
    assert_eq!(read_to_end(&mut used).await, b"");
    assert!(start.elapsed() < DELAY, "the requests above took too long");

    assert_eq!(read_to_end(&mut idle).await, b"");
    assert!(start.elapsed() >= DELAY, "{:?}", start.elapsed());
    within("the shutdown", LIMIT, task).await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

/// Without a delay the listener closes at once.
#[tokio::test]
async fn each_signal_drains_and_exits_with_0_after_the_delay() {
    for (signal, delay) in [("TERM", "1"), ("INT", "0"), ("HUP", "1")] {
        let reserved = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = reserved.local_addr().unwrap();
        drop(reserved);
        let mut server = Command::new(env!("CARGO_BIN_EXE_fia-api"))
            .arg("serve")
            .env_clear()
            .envs(defaults())
            .envs(vars(&[
                ("FIA_API_BIND", &address.to_string()),
                ("FIA_API_SHUTDOWN_DELAY", delay),
                ("LOG_LEVEL", "error"),
            ]))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        eventually(LIMIT, async || TcpStream::connect(address).await.is_ok()).await;
        let start = Instant::now();
        let pid = server.id().unwrap().to_string();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status();
        assert!(sent.await.unwrap().success());
        let exited = within("the exit", LIMIT, server.wait()).await.unwrap();
        assert_eq!(exited.code(), Some(0), "{signal}");
        let delay = Duration::from_secs(delay.parse().unwrap());
        assert!(start.elapsed() >= delay, "{signal}: {:?}", start.elapsed());
    }
}
