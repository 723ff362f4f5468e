//! Each fault of the proxy, seen from both ends of a connection.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use devstack::{Direction, FaultProxy, Mode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::wait::{SILENCE, until};

/// A proxy, and a listener behind it.
async fn proxy() -> (FaultProxy, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = FaultProxy::start(listener.local_addr().unwrap())
        .await
        .unwrap();
    (proxy, listener)
}

/// A connection through it: the client's end and the server's.
async fn connection(proxy: &FaultProxy, listener: &TcpListener) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(proxy.addr()).await.unwrap();
    (client, listener.accept().await.unwrap().0)
}

async fn arrives(from: &mut TcpStream, to: &mut TcpStream, text: &str) {
    from.write_all(text.as_bytes()).await.unwrap();
    assert_eq!(read(to, text.len()).await, text);
}

async fn read(from: &mut TcpStream, n: usize) -> String {
    let mut buffer = vec![0; n];
    from.read_exact(&mut buffer).await.unwrap();
    String::from_utf8(buffer).unwrap()
}

async fn is_silent(from: &mut TcpStream) -> bool {
    tokio::time::timeout(SILENCE, from.read(&mut [0]))
        .await
        .is_err()
}

async fn is_reset(from: &mut TcpStream) -> bool {
    from.read(&mut [0])
        .await
        .is_err_and(|e| e.kind() == ErrorKind::ConnectionReset)
}

#[tokio::test]
async fn it_passes_and_counts() {
    let (proxy, listener) = proxy().await;
    let (mut client, mut server) = connection(&proxy, &listener).await;
    arrives(&mut client, &mut server, "ping").await;
    arrives(&mut server, &mut client, "pong!").await;
    assert_eq!((proxy.connections(), proxy.open()), (1, 1));
    until("the bytes are counted", || {
        proxy.bytes(Direction::ToClient) == 5
    })
    .await;
    assert_eq!(proxy.bytes(Direction::ToServer), 4);
    // A close is passed on, and the other direction goes on until it is closed too.
    client.shutdown().await.unwrap();
    assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
    arrives(&mut server, &mut client, "late").await;
    drop(server);
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    until("the connection is over", || proxy.open() == 0).await;
}

#[tokio::test]
async fn much_data_arrives_unchanged() {
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
async fn it_delays_one_direction_without_limiting_the_rate() {
    let (proxy, listener) = proxy().await;
    let (mut client, mut server) = connection(&proxy, &listener).await;
    let delay = Duration::from_millis(500);
    proxy.set(Direction::ToClient, Mode::Delay(delay));
    let began = Instant::now();
    arrives(&mut client, &mut server, "at once").await;
    assert!(began.elapsed() < delay);
    // Twenty chunks together take one delay, not twenty.
    let writes = async {
        for _ in 0..20 {
            server.write_all(b"x").await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let began = Instant::now();
    tokio::join!(writes, read(&mut client, 20));
    assert!(
        (delay..delay * 5).contains(&began.elapsed()),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn a_black_hole_swallows_bytes_and_ends() {
    let (proxy, listener) = proxy().await;
    let (mut client, mut server) = connection(&proxy, &listener).await;
    proxy.set(Direction::ToServer, Mode::BlackHole);
    client.write_all(b"lost").await.unwrap();
    assert!(is_silent(&mut server).await);
    arrives(&mut server, &mut client, "the other way works").await;
    proxy.set(Direction::ToServer, Mode::Pass);
    arrives(&mut client, &mut server, "found").await;

    proxy.set(Direction::ToServer, Mode::BlackHole);
    client.shutdown().await.unwrap();
    assert!(is_silent(&mut server).await, "the end is swallowed too");
    proxy.set(Direction::ToServer, Mode::Pass);
    assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn it_holds_and_lets_go() {
    let (proxy, listener) = proxy().await;
    let (mut client, mut server) = connection(&proxy, &listener).await;
    proxy.set_both(Mode::Hold);
    client.write_all(b"question").await.unwrap();
    server.write_all(b"answer").await.unwrap();
    assert!(is_silent(&mut server).await && is_silent(&mut client).await);
    proxy.set(Direction::ToServer, Mode::Pass);
    assert_eq!(read(&mut server, 8).await, "question");
    assert!(is_silent(&mut client).await);
    proxy.heal().await.unwrap();
    assert_eq!(read(&mut client, 6).await, "answer");
}

#[tokio::test]
async fn it_refuses_connections_and_listens_again() {
    let (proxy, listener) = proxy().await;
    let (mut client, mut server) = connection(&proxy, &listener).await;
    proxy.refuse(true).await.unwrap();
    let refused = TcpStream::connect(proxy.addr()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    arrives(&mut client, &mut server, "open ones go on").await;
    proxy.refuse(false).await.unwrap();
    let (mut client, mut server) = connection(&proxy, &listener).await;
    arrives(&mut client, &mut server, "back").await;
}

#[tokio::test]
async fn it_refuses_the_nth_connection_only() {
    let (proxy, listener) = proxy().await;
    proxy.refuse_nth(2);
    let (mut client, mut server) = connection(&proxy, &listener).await;
    arrives(&mut client, &mut server, "first").await;
    let mut second = TcpStream::connect(proxy.addr()).await.unwrap();
    assert!(is_reset(&mut second).await);
    let (mut client, mut server) = connection(&proxy, &listener).await;
    arrives(&mut client, &mut server, "third").await;
    assert_eq!(proxy.connections(), 3);
}

#[tokio::test]
async fn it_resets_both_sides() {
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
async fn it_resets_while_bytes_are_held() {
    let (proxy, listener) = proxy().await;
    let (mut client, mut server) = connection(&proxy, &listener).await;
    proxy.set_both(Mode::Hold);
    client.write_all(b"never").await.unwrap();
    proxy.reset_all();
    assert!(is_reset(&mut server).await);
    assert!(is_reset(&mut client).await);
}

#[tokio::test]
async fn it_closes_one_direction() {
    let (proxy, listener) = proxy().await;
    let (mut client, mut server) = connection(&proxy, &listener).await;
    proxy.half_close(Direction::ToClient);
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    arrives(&mut client, &mut server, "still heard").await;
}

#[tokio::test]
async fn it_cuts_after_so_many_bytes() {
    let (proxy, listener) = proxy().await;
    let (mut client, mut server) = connection(&proxy, &listener).await;
    proxy.cut_after(Direction::ToClient, Some(7));
    arrives(&mut server, &mut client, "four").await;
    server.write_all(b"frame").await.unwrap();
    let mut rest = Vec::new();
    // RST may overtake what was not read yet, so any prefix is right.
    let end = client.read_to_end(&mut rest).await;
    assert!(
        end.is_err() && b"fra".starts_with(&rest),
        "{end:?} {rest:?}"
    );
    assert_eq!(proxy.bytes(Direction::ToClient), 7);
    proxy.heal().await.unwrap();
    let (mut client, mut server) = connection(&proxy, &listener).await;
    arrives(&mut server, &mut client, "longer than that").await;
}

#[tokio::test]
async fn a_dead_upstream_shows_as_a_reset() {
    let (proxy, listener) = proxy().await;
    drop(listener);
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    assert!(is_reset(&mut client).await);
}

#[tokio::test]
async fn dropping_it_ends_its_connections() {
    let (proxy, listener) = proxy().await;
    let (mut client, mut server) = connection(&proxy, &listener).await;
    let addr = proxy.addr();
    drop(proxy);
    assert!(is_reset(&mut client).await && is_reset(&mut server).await);
    assert!(TcpStream::connect(addr).await.is_err());
}
