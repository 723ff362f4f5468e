//! The simulated network: ordered streams of bytes, each with delays, stalls and cuts, between
//! the processes and Valkey.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::events::Event;
use crate::valkey::Session;
use crate::world::World;

/// The network between a process and a server.
#[derive(Clone, Default)]
pub(crate) struct Link {
    /// The longest ordinary delay in milliseconds.
    pub(crate) delay: u64,
    /// Whether no delay is longer than a timeout of the cache.
    pub(crate) is_fast: bool,
    /// Until then, bytes to the server wait.
    pub(crate) held_out: u64,
    /// Until then, bytes from the server wait.
    pub(crate) held_in: u64,
    /// Until then, connections are refused.
    pub(crate) refused: u64,
}

/// A connection.
pub(crate) struct Connection {
    pub(crate) process: usize,
    pub(crate) server: usize,
    pub(crate) session: Session,
    /// Whether the server has it.
    pub(crate) is_open: bool,
    /// Whether it loses all that is sent, in both directions.
    pub(crate) is_mute: bool,
    /// The time of the last delivery in each direction: streams are ordered.
    pub(crate) last_out: u64,
    pub(crate) last_in: u64,
    /// What the client has received and not read.
    received: BytesMut,
    end: Option<End>,
    reader: Option<Waker>,
}

/// How a connection ended for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Closed,
    Reset,
}

impl Connection {
    pub(crate) fn new(process: usize, server: usize) -> Self {
        Self {
            process,
            server,
            session: Session::default(),
            is_open: true,
            is_mute: false,
            last_out: 0,
            last_in: 0,
            received: BytesMut::new(),
            end: None,
            reader: None,
        }
    }

    /// Delivers bytes to the client.
    pub(crate) fn deliver(&mut self, bytes: &[u8]) {
        if self.end.is_none() && !self.is_mute {
            self.received.extend_from_slice(bytes);
            self.wake();
        }
    }

    /// Ends the connection for the client.
    pub(crate) fn end(&mut self, end: End) {
        self.is_open = false;
        self.end.get_or_insert(end);
        self.wake();
    }

    /// Whether the client has given up.
    pub(crate) fn is_left(&self) -> bool {
        self.end.is_some()
    }

    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

/// The client's end of a connection.
pub(crate) struct ClientStream {
    world: World,
    id: usize,
}

impl World {
    /// Opens a connection of a process to a server.
    pub(crate) async fn connect(self, process: usize, server: usize) -> io::Result<ClientStream> {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let (arrives, is_refused) = self.with(|state| {
            let now = state.now();
            if let Some(task) = tokio::task::try_id() {
                state.connected.insert(task, server);
            }
            let link = state.link(process, server).clone();
            let delay = state.delay(process, server);
            (now.max(link.held_out) + delay, link.refused > now)
        });
        self.sleep_until(arrives).await;
        self.with(|state| {
            let is_refused = is_refused || state.link(process, server).refused > state.now();
            if is_refused || !state.servers.all[server].is_up {
                return Err(refused());
            }
            state.connections.push(Connection::new(process, server));
            let id = state.connections.len() - 1;
            let now = state.now();
            state.trace.add(&[now, 1, process as u64, id as u64]);
            Ok(id)
        })
        .map(|id| ClientStream { world: self, id })
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.world.with(|state| {
            let connection = &mut state.connections[self.id];
            let count = connection.received.len().min(buffer.remaining());
            if count > 0 {
                buffer.put_slice(&connection.received[..count]);
                connection.received.advance(count);
                return Poll::Ready(Ok(()));
            }
            match connection.end {
                None => {
                    connection.reader = Some(cx.waker().clone());
                    Poll::Pending
                }
                Some(End::Closed) => Poll::Ready(Ok(())),
                Some(End::Reset) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            }
        })
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let is_open = self.world.with(|state| {
            let is_open = state.connections[self.id].end.is_none();
            if is_open {
                state.send_out(self.id, Bytes::copy_from_slice(bytes));
            }
            is_open
        });
        match is_open {
            true => Poll::Ready(Ok(bytes.len())),
            false => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for ClientStream {
    fn drop(&mut self) {
        let id = self.id;
        self.world.with(|state| {
            state.connections[id].end.get_or_insert(End::Reset);
            state.connections[id].reader = None;
            let at = state.now().max(state.connections[id].last_out);
            state.schedule(at, Event::Left(id));
        });
    }
}
