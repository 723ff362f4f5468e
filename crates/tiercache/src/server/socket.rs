//! Sockets that count the bytes that move: the sign of life of a server whose reply is long.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, ErrorKind, RedisResult};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::task::AbortHandle;

use crate::seams;
use crate::server::handshake::Handshake;

/// A connection of the client, which is closed when this is dropped.
pub(crate) struct Socket {
    pub(crate) connection: MultiplexedConnection,
    /// The bytes that were sent and received; with TLS, those within it.
    pub(crate) moved: Moved,
    /// The task that drives the connection.
    driver: AbortHandle,
}

/// A count of bytes.
#[derive(Clone, Default)]
pub(crate) struct Moved(Arc<AtomicU64>);

impl Moved {
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl Socket {
    /// Connects to an address.
    pub(super) async fn open(
        info: &ConnectionInfo,
        handshake: Option<&Handshake>,
        config: &AsyncConnectionConfig,
    ) -> RedisResult<Self> {
        #[cfg(tiercache_simulation)]
        if let ConnectionAddr::Tcp(host, port) = info.addr() {
            let stream = crate::simulated::connect(host, *port).await?;
            return Self::over(stream, info, config).await;
        }
        match (info.addr(), handshake) {
            (ConnectionAddr::Tcp(host, port), _) => {
                Self::over(tcp(host, *port).await?, info, config).await
            }
            (ConnectionAddr::TcpTls { host, port, .. }, Some(handshake)) => {
                let stream = handshake.over(host, tcp(host, *port).await?).await?;
                Self::over(stream, info, config).await
            }
            #[cfg(unix)]
            (ConnectionAddr::Unix(path), _) => {
                let stream = UnixStream::connect(path).await?;
                Self::over(stream, info, config).await
            }
            _ => Err((
                ErrorKind::InvalidClientConfig,
                "not supported on this system",
            )
                .into()),
        }
    }

    async fn over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        info: &ConnectionInfo,
        config: &AsyncConnectionConfig,
    ) -> RedisResult<Self> {
        let moved = Moved::default();
        let counted = Counted {
            stream,
            moved: moved.clone(),
            has_yielded: false,
        };
        let (settings, config) = (info.redis_settings(), config.clone());
        let opening = MultiplexedConnection::new_with_config(settings, counted, config);
        let (connection, driver) = opening.await?;
        Ok(Self {
            connection,
            moved,
            driver: seams::spawn(driver).abort_handle(),
        })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

async fn tcp(host: &str, port: u16) -> RedisResult<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    // Commands are pipelined: none may wait for the ACK of another.
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A stream whose bytes are counted, and whose writes wait for a turn of the scheduler: the tasks
/// that are ready may have commands, too, which leave in the same packet.
struct Counted<S> {
    stream: S,
    moved: Moved,
    /// Whether the next write has waited.
    has_yielded: bool,
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.moved.add(buffer.filled().len() - before);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
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
        if let Poll::Ready(Ok(count)) = written {
            self.moved.add(count);
            self.has_yielded = false;
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
