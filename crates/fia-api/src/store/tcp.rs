//! TCP connections to PostgreSQL.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::store::timeout::RESPONSE_TIMEOUT;

/// Idle time before TCP keep-alive probes.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);

/// Connects to the first address of a host that accepts. Returns the addresses of both ends, too.
pub(super) async fn connect(
    host: &str,
    port: u16,
) -> io::Result<(Stream, (SocketAddr, SocketAddr))> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    // Data that is not acknowledged for so long ends the connection.
    socket.set_tcp_user_timeout(Some(RESPONSE_TIMEOUT))?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE_IDLE))?;
    let addresses = (stream.local_addr()?, stream.peer_addr()?);
    let stream = Stream {
        stream,
        has_yielded: false,
    };
    Ok((stream, addresses))
}

/// A connection whose writes wait for a turn of the scheduler: the tasks that are ready may have
/// lookups for it, too, which leave in the same packet.
pub(super) struct Stream {
    stream: TcpStream,
    /// Whether the next write has waited.
    has_yielded: bool,
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !self.has_yielded {
            self.has_yielded = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.has_yielded = written.is_pending();
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
