//! The floor of a request's CPU time: a server that parses nothing. Whenever a socket is readable, it
//! reads once and writes a constant response once.

use std::collections::HashMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use super::constant::Options;
use crate::Outcome;

const LISTENER: Token = Token(0);

/// Serves on one thread until the process is killed.
pub(super) fn serve(options: &Options) -> Outcome {
    let body = options.body();
    let response = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut poll = Poll::new()?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
    let mut listener = TcpListener::bind(address)?;
    let registry = poll.registry().try_clone()?;
    registry.register(&mut listener, LISTENER, Interest::READABLE)?;
    let (mut streams, mut next) = (HashMap::new(), LISTENER.0 + 1);
    let (mut events, mut request) = (Events::with_capacity(256), [0; 16 * 1024]);
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() != LISTENER {
                let is_open = streams
                    .get_mut(&event.token())
                    .is_some_and(|stream| answer(stream, &mut request, response.as_bytes()));
                if !is_open {
                    streams.remove(&event.token());
                }
                continue;
            }
            while let Ok((mut stream, _)) = listener.accept() {
                stream.set_nodelay(true)?;
                registry.register(&mut stream, Token(next), Interest::READABLE)?;
                streams.insert(Token(next), stream);
                next += 1;
            }
        }
    }
}

/// Whether the connection is still open.
fn answer(stream: &mut TcpStream, request: &mut [u8], response: &[u8]) -> bool {
    match stream.read(request) {
        Ok(0) => false,
        Ok(_) => stream.write_all(response).is_ok(),
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}
