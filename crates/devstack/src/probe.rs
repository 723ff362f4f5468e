//! Is a server ready? Asked in its own protocol, over one short connection.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const LIMIT: Duration = Duration::from_millis(500);

/// A start-up packet of PostgreSQL's protocol 3.0 (length, version, user and database), answered with `R` (an
/// authentication request) once the server takes sessions, and with an error before.
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
    answers(addr, &packet, b"R")
}

/// `PING` is answered with `+PONG`, or with an error while data are loaded.
pub fn valkey(addr: SocketAddr) -> bool {
    answers(addr, b"PING\r\n", b"+PONG")
}

/// The AMQP 0-9-1 greeting is answered with a method frame (`Connection.Start`).
pub fn amqp(addr: SocketAddr) -> bool {
    answers(addr, b"AMQP\x00\x00\x09\x01", &[1])
}

/// A `GET` is answered with status 200.
pub fn http(addr: SocketAddr, path: &str) -> bool {
    let request = format!("GET {path} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n\r\n");
    answers(addr, request.as_bytes(), b"HTTP/1.1 200")
}

/// Something listens.
pub fn listens(addr: SocketAddr) -> bool {
    TcpStream::connect_timeout(&addr, LIMIT).is_ok()
}

fn answers(addr: SocketAddr, question: &[u8], expected: &[u8]) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect_timeout(&addr, LIMIT)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.write_all(question)?;
        let mut answer = vec![0; expected.len()];
        stream.read_exact(&mut answer)?;
        std::io::Result::Ok(answer == expected)
    };
    ask().unwrap_or(false)
}
