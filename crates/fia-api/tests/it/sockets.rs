//! The listener: stalled clients, malformed requests, graceful shutdown.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use devstack::shared;
use fia_api::app::Server;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::harness::{Database, Replica, eventually, vars, within};

/// The longest that a stalled client may keep a connection.
const LIMIT: Duration = Duration::from_secs(10);
/// Limit of each read and of the shutdown.
const READ_LIMIT: Duration = Duration::from_secs(30);

const HEALTHZ: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";

struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    fn start(replica: &Replica) -> Self {
        let address = "127.0.0.1:0".parse().unwrap();
        let server = Server::bind(address, replica.edge()).unwrap();
        let address = server.address().unwrap();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(server.run(async { drop(stopped.await) }));
        Self {
            address,
            stop,
            task,
        }
    }

    /// Sends bytes and reads until the server closes the connection.
    async fn talk(&self, sent: &[u8]) -> (String, Duration) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(sent).await.unwrap();
        let start = Instant::now();
        let mut received = Vec::new();
        // A reset counts as closed.
        let _ = within("the end", READ_LIMIT, stream.read_to_end(&mut received)).await;
        (
            String::from_utf8_lossy(&received).into_owned(),
            start.elapsed(),
        )
    }
}

/// Takes nearly 10 s: the timeouts under test. An idle connection is kept longer.
#[tokio::test]
async fn stalled_clients_are_disconnected_in_time() {
    let replica = Replica::new(&[]);
    let server = Running::start(&replica);
    let unfinished_body = b"PUT /live-data/mari/script HTTP/1.1\r\nhost: x\r\n\
        content-type: application/json\r\ncontent-length: 100\r\n\r\n{\"value\":";
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    idle.write_all(HEALTHZ).await.unwrap();
    let (silent, half_head, half_body) = tokio::join!(
        server.talk(b""),
        server.talk(b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-slow: "),
        server.talk(unfinished_body),
    );
    for (what, (_, took)) in [
        ("silent", &silent),
        ("half a head", &half_head),
        ("half a body", &half_body),
    ] {
        assert!(*took < LIMIT, "{what}: {took:?}");
    }
    assert!(half_body.0.starts_with("HTTP/1.1 408"), "{}", half_body.0);
    for _ in 0..2 {
        let mut received = [0; 12];
        within("the response", READ_LIMIT, idle.read_exact(&mut received))
            .await
            .unwrap();
        assert_eq!(&received, b"HTTP/1.1 200");
        let mut rest = [0; 4096];
        let _ = idle.read(&mut rest).await.unwrap();
        idle.write_all(HEALTHZ).await.unwrap();
    }
}

#[tokio::test]
async fn malformed_requests_are_rejected_at_once() {
    let server = Running::start(&Replica::new(&[]));
    let tls_hello = [
        0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03,
    ];
    let long_url = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(70_000));
    for (sent, status) in [
        (&tls_hello[..], "HTTP/1.1 400"),
        (b"\x00\x01\x02\r\n\r\n", "HTTP/1.1 400"),
        (long_url.as_bytes(), "HTTP/1.1 4"),
        (b"GET /healthz HTTP/1.1\r\n\r\n", "HTTP/1.1 400"),
        (
            b"GET /healthz HTTP/1.1\r\nhost: x\r\nhost: x\r\n\r\n",
            "HTTP/1.1 400",
        ),
        (b"GET /healthz HTTP/1.1\nhost: x\n\n", "HTTP/1.1 400"),
        (b"GET /healthz HTTP/1.1\r\nhost: x\n\r\n", "HTTP/1.1 400"),
    ] {
        let (received, took) = server.talk(sent).await;
        assert!(received.starts_with(status), "{received:?}");
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
}

#[tokio::test]
async fn shutdown_waits_for_in_flight_requests() {
    let database = Database::seeded().await;
    let replica = Replica::new(&[&database.vars()]);
    let server = Running::start(&replica);
    // A table lock keeps the read in flight until the test commits.
    let client = database.client().await;
    client
        .batch_execute("BEGIN; LOCK TABLE instruments")
        .await
        .unwrap();
    let reading = tokio::spawn({
        let address = server.address;
        async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request = b"GET /live-data/mari/script HTTP/1.1\r\nhost: x\r\n\r\n";
            stream.write_all(request).await.unwrap();
            let mut received = String::new();
            stream.read_to_string(&mut received).await.unwrap();
            received
        }
    });
    // A second connection: within a transaction `pg_stat_activity` is a snapshot.
    let watcher = database.client().await;
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
                   AND datname = current_database()";
    eventually(Duration::from_secs(5), async || {
        watcher
            .query_one(waiting, &[])
            .await
            .unwrap()
            .get::<_, i64>(0)
            == 1
    })
    .await;
    server.stop.send(()).unwrap();
    client.batch_execute("COMMIT").await.unwrap();
    let received = within("the response", READ_LIMIT, reading).await.unwrap();
    assert!(received.starts_with("HTTP/1.1 200"), "{received}");
    assert!(received.contains("# live data for MARI"), "{received}");
    within("the shutdown", READ_LIMIT, server.task)
        .await
        .unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn shutdown_aborts_live_logs() {
    let valkey = shared::valkey().await.unwrap();
    let replica = Replica::new(&[&vars(&[("VALKEY_URL", &valkey.url())])]);
    let server = Running::start(&replica);
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = b"GET /live-data/QUIET/logs HTTP/1.1\r\nhost: x\r\n\
        authorization: Bearer shh\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut received = String::new();
    while !received.contains(": keep-alive\n\n") {
        let mut buffer = [0; 1024];
        let read = within("a keep-alive", READ_LIMIT, stream.read(&mut buffer))
            .await
            .unwrap();
        assert!(read > 0, "{received}");
        received.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
    let stopped = Instant::now();
    server.stop.send(()).unwrap();
    // A reset counts as aborted.
    let _ = within("the end", READ_LIMIT, stream.read_to_string(&mut received)).await;
    assert!(received.starts_with("HTTP/1.1 200"), "{received}");
    // The final chunk would be a regular end, after which the front end does not reconnect.
    assert!(!received.ends_with("0\r\n\r\n"), "{received}");
    within("the shutdown", READ_LIMIT, server.task)
        .await
        .unwrap();
    let took = stopped.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
}

/// Without `Host`, as HTTP/1.0 allows.
#[tokio::test]
async fn clients_that_end_sending_get_their_response() {
    let server = Running::start(&Replica::new(&[]));
    for request in [HEALTHZ, b"GET /healthz HTTP/1.0\r\n\r\n"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(request).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut received = String::new();
        within("the end", READ_LIMIT, stream.read_to_string(&mut received))
            .await
            .unwrap();
        assert!(received.starts_with("HTTP/1."), "{received}");
        assert!(received.contains(" 200 OK"), "{received}");
    }
}

/// Clients that read only after they have sent everything. Takes a second: 130 MB are sent.
#[tokio::test]
async fn a_refusal_reaches_a_client_that_is_still_sending() {
    const CHUNK: usize = 64 * 1024;
    let server = Running::start(&Replica::new(&[]));
    for (length, status) in [
        (100_000, 401),
        (1_000_000, 401),
        (20_000_000, 413),
        (130_000_000, 413),
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let head = format!(
            "PUT /live-data/mari/script HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut remaining = length;
        let chunk = vec![b'1'; CHUNK];
        while remaining > 0 {
            let size = remaining.min(CHUNK);
            let sending = stream.write_all(&chunk[..size]);
            within("the client to send", READ_LIMIT, sending)
                .await
                .unwrap();
            remaining -= size;
        }
        let mut received = vec![0; 12];
        within("the response", READ_LIMIT, stream.read_exact(&mut received))
            .await
            .unwrap();
        let received = String::from_utf8_lossy(&received);
        assert_eq!(received, format!("HTTP/1.1 {status}"), "{length} bytes");
    }
}
