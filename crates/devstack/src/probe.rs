//! Readiness probes: each opens a short connection and sends a minimal message of the server's
//! protocol.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Connect and read timeout.
const TIMEOUT: Duration = Duration::from_millis(500);

/// Probes PostgreSQL with a startup message of protocol 3.0. The server responds with `R` (an
/// authentication request) once it accepts connections, and with an error before.
pub fn postgres(addr: SocketAddr, database: &str) -> bool {
    let mut body = 0x0003_0000_u32.to_be_bytes().to_vec();
    for text in ["user", "postgres", "database", database, ""] {
        body.extend_from_slice(text.as_bytes());
        body.push(0);
    }
    let mut packet = u32::try_from(body.len() + 4)
        .unwrap_or(0)
        .to_be_bytes()
        .to_vec();
    packet.extend_from_slice(&body);
    responds(addr, &packet, b"R")
}

/// Probes Valkey with `PING`. The response is an error while data are being loaded.
pub fn valkey(addr: SocketAddr) -> bool {
    responds(addr, b"PING\r\n", b"+PONG")
}

/// True if this many replicas of a Valkey are in sync.
pub fn valkey_replicas(addr: SocketAddr, count: usize) -> bool {
    let request = format!("WAIT {count} 100\r\n");
    responds(addr, request.as_bytes(), format!(":{count}\r").as_bytes())
}

/// True if a sentinel knows a quorum, and this many usable sentinels, for the service `main`.
pub fn sentinels(addr: SocketAddr, count: usize) -> bool {
    let expected = format!("+OK {count} usable");
    responds(addr, b"SENTINEL CKQUORUM main\r\n", expected.as_bytes())
}

/// Probes an AMQP 0-9-1 server with the protocol header. The response is a method frame
/// (`Connection.Start`).
pub fn amqp(addr: SocketAddr) -> bool {
    responds(addr, b"AMQP\x00\x00\x09\x01", &[1])
}

/// Probes an HTTP server: true if `GET path` has status 200.
pub fn http(addr: SocketAddr, path: &str) -> bool {
    let request = format!("GET {path} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n\r\n");
    responds(addr, request.as_bytes(), b"HTTP/1.1 200")
}

/// True if a TCP connection is accepted.
pub fn listens(addr: SocketAddr) -> bool {
    TcpStream::connect_timeout(&addr, TIMEOUT).is_ok()
}

/// True if the response to `request` starts with `expected`.
fn responds(addr: SocketAddr, request: &[u8], expected: &[u8]) -> bool {
    let exchange = || {
        let mut stream = TcpStream::connect_timeout(&addr, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.write_all(request)?;
        let mut response = vec![0; expected.len()];
        stream.read_exact(&mut response)?;
        std::io::Result::Ok(response == expected)
    };
    exchange().unwrap_or(false)
}
