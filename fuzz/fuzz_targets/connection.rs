//! The bytes of connections, as they arrive: heads, bodies and pipelined requests in pieces, then the
//! end of sending. Every response is whole and has a status of the contract, and the connection ends.
#![no_main]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::LazyLock;
use std::time::Duration;

use fia_api::app::Server;
use fia_fuzz::{RUNTIME, edge};
use libfuzzer_sys::fuzz_target;

/// The time limit of a response, far above that of any request.
const LIMIT: Duration = Duration::from_secs(20);

static SERVER: LazyLock<SocketAddr> = LazyLock::new(|| {
    let edge = edge();
    let _entered = RUNTIME.enter();
    let address = "127.0.0.1:0".parse().expect("an address");
    let server = Server::bind(address, edge).expect("a free port");
    let address = server.address().expect("a bound socket");
    RUNTIME.spawn(server.run(std::future::pending()));
    address
});

fuzz_target!(|sent: (Vec<u8>, &[u8])| {
    let (cuts, bytes) = sent;
    let mut stream = TcpStream::connect(*SERVER).expect("the server accepts");
    stream.set_read_timeout(Some(LIMIT)).expect("a timeout");
    stream.set_nodelay(true).expect("a socket");
    let mut rest = bytes;
    for cut in cuts.iter().take(8) {
        let (piece, after) = rest.split_at(rest.len().min(usize::from(*cut)));
        // The server may close the connection before it has read everything.
        if stream.write_all(piece).is_err() {
            break;
        }
        rest = after;
    }
    let _ = stream.write_all(rest);
    let _ = stream.shutdown(Shutdown::Write);
    let mut received = Vec::new();
    if let Err(error) = stream.read_to_end(&mut received) {
        let is_reset = error.kind() == ErrorKind::ConnectionReset;
        assert!(is_reset, "the connection did not end: {error}");
    }
    check(&received);
});

/// Checks the first response. Those after it cannot be separated from its body without parsing it.
fn check(received: &[u8]) {
    if received.is_empty() {
        return;
    }
    let head = received
        .strip_prefix(b"HTTP/1.1 ")
        .or_else(|| received.strip_prefix(b"HTTP/1.0 "))
        .expect("a status line");
    let code = std::str::from_utf8(&head[..3]).expect("digits");
    let status: u16 = code.parse().expect("a status");
    let is_known = matches!(status, 100 | 200..=204 | 206 | 304 | 307 | 400..=431 | 503 | 505);
    assert!(is_known, "status {status}");
    let has_end = received.windows(4).any(|window| window == b"\r\n\r\n");
    assert!(has_end, "a head without its end");
}
