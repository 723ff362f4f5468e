//! Each fault of the proxy, observed from both ends of a connection.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use devstack::{Direction, FaultProxy, Mode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::wait::{UNRESPONSIVE_AFTER, until};

/// A proxy and its upstream listener.
async fn proxy() -> (FaultProxy, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = FaultProxy::start(listener.local_addr().unwrap())
        .await
        .unwrap();
    (proxy, listener)
}

/// A connection through the proxy: its client end and its server end.
async fn connection(proxy: &FaultProxy, listener: &TcpListener) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(proxy.addr()).await.unwrap();
    (client, listener.accept().await.unwrap().0)
}

async fn assert_forwarded(from: &mut TcpStream, to: &mut TcpStream, text: &str) {
    from.write_all(text.as_bytes()).await.unwrap();
    assert_eq!(read(to, text.len()).await, text);
}

async fn read(from: &mut TcpStream, n: usize) -> String {
    let mut buffer = vec![0; n];
    from.read_exact(&mut buffer).await.unwrap();
    String::from_utf8(buffer).unwrap()
}

async fn is_silent(from: &mut TcpStream) -> bool {
    tokio::time::timeout(UNRESPONSIVE_AFTER, from.read(&mut [0]))
        .await
        .is_err()
}

async fn is_reset(from: &mut TcpStream) -> bool {
    from.read(&mut [0])
        .await
        .is_err_and(|e| e.kind() == ErrorKind::ConnectionReset)
}

#[tokio::test]
async fn the_proxy_forwards_and_counts_bytes() {
    let (proxy, listener) = proxy().await;
    let (mut client, mut server) = connection(&proxy, &listener).await;
    assert_forwarded(&mut client, &mut server, "ping").await;
    assert_forwarded(&mut server, &mut client, "pong!").await;
    assert_eq!((proxy.connections(), proxy.open()), (1, 1));
    until("the bytes are counted", || {
        proxy.bytes(Direction::ToClient) == 5
    })
    .await;
    assert_eq!(proxy.bytes(Direction::ToServer), 4);
    // A close is forwarded; the other direction stays open until it is closed too.
    client.shutdown().await.unwrap();
    assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
    assert_forwarded(&mut server, &mut client, "late").await;
    drop(server);
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    until("the connection is closed", || proxy.open() == 0).await;
}

#[tokio::test]
async fn large_transfers_arrive_unchanged() {
    let (proxy, listener) = proxy().await;
    let (mut client, mut server) = connection(&proxy, &listener).await;
    proxy.set(Direction::ToServer, Mode::Delay(Duration::from_millis(2)));
    let sent: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let copy = sent.clone();
    let sending = tokio::spawn(async move {
        client.write_all(&copy).await.unwrap();
        client.shutdown().await.unwrap();
        client
    });
    let mut received = Vec::new();
    server.read_to_end(&mut received).await.unwrap();
    assert!(received == sent);
    sending.await.unwrap();
}

#[tokio::test]
async fn a_delay_affects_one_direction_and_not_its_throughput() {
    let (proxy, listener) = proxy().await;
    let (mut client, mut server) = connection(&proxy, &listener).await;
    let delay = Duration::from_millis(500);
    proxy.set(Direction::ToClient, Mode::Delay(delay));
    let started_at = Instant::now();
    assert_forwarded(&mut client, &mut server, "at once").await;
    assert!(started_at.elapsed() < delay);
    // Twenty chunks take one delay in total, not twenty.
    let writes = async {
        for _ in 0..20 {
            server.write_all(b"x").await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let started_at = Instant::now();
    tokio::join!(writes, read(&mut client, 20));
    assert!(
        (delay..delay * 5).contains(&started_at.elapsed()),
        "{:?}",
        started_at.elapsed()
    );
}

#[tokio::test]
async fn a_black_hole_discards_bytes_and_the_end_of_the_stream() {
    let (proxy, listener) = proxy().await;
    let (mut client, mut server) = connection(&proxy, &listener).await;
    proxy.set(Direction::ToServer, Mode::BlackHole);
    client.write_all(b"lost").await.unwrap();
    assert!(is_silent(&mut server).await);
    assert_forwarded(&mut server, &mut client, "the other way works").await;
    proxy.set(Direction::ToServer, Mode::Pass);
    assert_forwarded(&mut client, &mut server, "found").await;

    proxy.set(Direction::ToServer, Mode::BlackHole);
    client.shutdown().await.unwrap();
    assert!(
        is_silent(&mut server).await,
        "the end of the stream is discarded too"
    );
    proxy.set(Direction::ToServer, Mode::Pass);
    assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn held_bytes_are_forwarded_after_release() {
    let (proxy, listener) = proxy().await;
    let (mut client, mut server) = connection(&proxy, &listener).await;
    proxy.set_both(Mode::Hold);
    client.write_all(b"requests").await.unwrap();
    server.write_all(b"served").await.unwrap();
    assert!(is_silent(&mut server).await && is_silent(&mut client).await);
    proxy.set(Direction::ToServer, Mode::Pass);
    assert_eq!(read(&mut server, 8).await, "requests");
    assert!(is_silent(&mut client).await);
    proxy.heal().await.unwrap();
    assert_eq!(read(&mut client, 6).await, "served");
}

#[tokio::test]
async fn refused_connections_are_accepted_again_after_the_fault() {
    let (proxy, listener) = proxy().await;
    let (mut client, mut server) = connection(&proxy, &listener).await;
    proxy.refuse(true).await.unwrap();
    let refused = TcpStream::connect(proxy.addr()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert_forwarded(&mut client, &mut server, "open ones continue").await;
    proxy.refuse(false).await.unwrap();
    let (mut client, mut server) = connection(&proxy, &listener).await;
    assert_forwarded(&mut client, &mut server, "back").await;
}

#[tokio::test]
async fn only_the_nth_connection_is_reset_on_accept() {
    let (proxy, listener) = proxy().await;
    proxy.refuse_nth(2);
    let (mut client, mut server) = connection(&proxy, &listener).await;
    assert_forwarded(&mut client, &mut server, "first").await;
    let mut second = TcpStream::connect(proxy.addr()).await.unwrap();
    assert!(is_reset(&mut second).await);
    let (mut client, mut server) = connection(&proxy, &listener).await;
    assert_forwarded(&mut client, &mut server, "third").await;
    assert_eq!(proxy.connections(), 3);
}

#[tokio::test]
async fn a_reset_reaches_both_ends() {
    let (proxy, listener) = proxy().await;
    let (mut client, mut server) = connection(&proxy, &listener).await;
    let (mut other_client, _other_server) = connection(&proxy, &listener).await;
    assert_eq!(proxy.reset_all(), 2);
    assert!(is_reset(&mut client).await);
    assert!(is_reset(&mut server).await);
    assert!(is_reset(&mut other_client).await);
    assert_eq!(proxy.reset_all(), 0);
}

#[tokio::test]
async fn a_reset_discards_held_bytes() {
    let (proxy, listener) = proxy().await;
    let (mut client, mut server) = connection(&proxy, &listener).await;
    proxy.set_both(Mode::Hold);
    client.write_all(b"never").await.unwrap();
    proxy.reset_all();
    assert!(is_reset(&mut server).await);
    assert!(is_reset(&mut client).await);
}

#[tokio::test]
async fn a_half_close_leaves_the_other_direction_open() {
    let (proxy, listener) = proxy().await;
    let (mut client, mut server) = connection(&proxy, &listener).await;
    proxy.half_close(Direction::ToClient);
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    assert_forwarded(&mut client, &mut server, "still open").await;
}

#[tokio::test]
async fn connections_are_reset_once_the_byte_budget_is_spent() {
    let (proxy, listener) = proxy().await;
    let (mut client, mut server) = connection(&proxy, &listener).await;
    proxy.cut_after(Direction::ToClient, Some(7));
    assert_forwarded(&mut server, &mut client, "four").await;
    server.write_all(b"frame").await.unwrap();
    let mut rest = Vec::new();
    // RST discards unread bytes at the receiver, so any prefix may have been read.
    let end = client.read_to_end(&mut rest).await;
    assert!(
        end.is_err() && b"fra".starts_with(&rest),
        "{end:?} {rest:?}"
    );
    assert_eq!(proxy.bytes(Direction::ToClient), 7);
    proxy.heal().await.unwrap();
    let (mut client, mut server) = connection(&proxy, &listener).await;
    assert_forwarded(&mut server, &mut client, "longer than that").await;
}

#[tokio::test]
async fn an_unavailable_upstream_resets_the_client() {
    let (proxy, listener) = proxy().await;
    drop(listener);
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    assert!(is_reset(&mut client).await);
}

#[tokio::test]
async fn dropping_the_proxy_resets_its_connections() {
    let (proxy, listener) = proxy().await;
    let (mut client, mut server) = connection(&proxy, &listener).await;
    let addr = proxy.addr();
    drop(proxy);
    assert!(is_reset(&mut client).await && is_reset(&mut server).await);
    assert!(TcpStream::connect(addr).await.is_err());
}
