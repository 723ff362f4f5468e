//! Sockets: accept, serve with limits, drain.

mod activity;
mod descriptors;
mod line_ends;
mod request;
mod signal;
mod socket;

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::Request;
use axum::response::Response;
use futures_util::FutureExt as _;
use futures_util::future::{Either, ready};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use activity::Open;
use request::{SentBody, close_after};
pub use signal::shutdown_signal;
use socket::Socket;

/// The time limit for in-flight requests after the shutdown signal.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(8);
/// The time limit for a client to acknowledge sent data, after which its connection is reset.
const UNACKNOWLEDGED_TIMEOUT: Duration = Duration::from_secs(30);
/// The limit of a connection's read and write buffers, in bytes; a request's head must fit.
const MAX_BUFFER: usize = 64 * 1024;
/// The limit of what the operating system keeps of a connection before this server reads it, in bytes.
/// Otherwise it grows to several MiB, and clients that send faster than their bodies are checked fill
/// the container's memory with bodies, each refused only after those before it. An upload reaches so
/// many bytes a round trip.
const RECEIVE_BUFFER: u32 = 256 * 1024;
/// Connections that wait to be accepted; the operating system may have a lower limit.
const BACKLOG: u32 = 4096;
/// The pause after a failed accept, such as for want of file descriptors.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// The response to a connection for which there is no place.
const NO_PLACE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n\
    content-length: 0\r\nconnection: close\r\n\r\n";

/// A request handler behind a server's sockets; cheap to clone.
pub trait Service: Clone + Send + 'static {
    /// The handler of a connection's requests.
    #[must_use]
    fn for_peer(self, _: IpAddr) -> Self {
        self
    }

    /// Handles a request; never fails.
    fn handle(self, request: Request) -> impl Future<Output = Response> + Send;

    /// Reports from now on that this replica is not ready: the shutdown signal arrived.
    fn begin_drain(&self) {}

    /// Ends the responses that would otherwise never end.
    fn end_streams(&self) {}
}

/// A bound server.
pub struct Server<S> {
    listener: TcpListener,
    service: S,
    shutdown_delay: Duration,
}

/// What all connections of a server share.
struct Connections<S> {
    http: http1::Builder,
    watcher: GracefulShutdown,
    service: S,
    open: Open,
    /// After the shutdown signal, each connection is closed after its next response.
    is_draining: Arc<AtomicBool>,
}

impl<S: Service> Server<S> {
    /// Binds the address. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn bind(address: SocketAddr, service: S) -> io::Result<Self> {
        Ok(Self {
            listener: listen(address)?,
            service,
            shutdown_delay: Duration::ZERO,
        })
    }

    /// Sets the time after the shutdown signal for which new connections and requests are still
    /// served: load balancers learn of the shutdown with a delay.
    #[must_use]
    pub fn shutdown_delay(self, delay: Duration) -> Self {
        Self {
            shutdown_delay: delay,
            ..self
        }
    }

    /// The bound address, with the port that the operating system chose for port 0.
    ///
    /// # Errors
    /// When the operating system does not report it.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown` completes, and for the shutdown delay after it; then in-flight
    /// requests get up to 8 s to finish.
    ///
    /// During the delay, responses carry `Connection: close`, and idle connections stay open: a
    /// request that is already on its way is not lost.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let mut http = http1::Builder::new();
        // The time limits of heads are enforced by `open`. A client that ends sending after its
        // request still gets the response.
        http.header_read_timeout(None)
            .half_close(true)
            .max_buf_size(MAX_BUFFER);
        let open = Open::new(descriptors::max_connections());
        let connections = Connections {
            http,
            watcher: GracefulShutdown::new(),
            service: self.service,
            open: open.clone(),
            is_draining: Arc::default(),
        };
        let serving = async {
            connections.accept(&self.listener, shutdown).await;
            connections.service.begin_drain();
            connections.is_draining.store(true, Ordering::Relaxed);
            if !self.shutdown_delay.is_zero() {
                let delay_s = self.shutdown_delay.as_secs();
                tracing::info!(delay_s, "not ready, still serving for the shutdown delay");
                let delay = sleep(self.shutdown_delay);
                connections.accept(&self.listener, delay).await;
            }
            drop(self.listener);
            connections.drain().await;
        };
        tokio::select! {
            () = serving => {}
            () = open.enforce_timeouts() => {}
        }
    }
}

impl<S: Service> Connections<S> {
    /// Accepts and serves connections until `end` completes.
    async fn accept(&self, listener: &TcpListener, end: impl Future<Output = ()>) {
        tokio::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => self.serve(stream, peer.ip()),
                    Err(error) => {
                        tracing::warn!(%error, "accept failed: retrying");
                        sleep(ACCEPT_BACKOFF).await;
                    }
                },
            }
        }
    }

    fn serve(&self, stream: TcpStream, peer: IpAddr) {
        if let Err(error) = prepare(&stream) {
            tracing::debug!(%error, "connection closed before its first request");
            return;
        }
        let Some(open) = self.open.add() else {
            tracing::warn!("connection refused: too many are open, and all are busy");
            // As much as the socket's buffer takes: nobody waits for this client.
            let _ = stream.try_write(NO_PLACE);
            return;
        };
        let handler = self.service.clone().for_peer(peer);
        let is_draining = Arc::clone(&self.is_draining);
        let activity = Arc::clone(&open.activity);
        let socket = Socket::new(stream, Arc::clone(&activity));
        let service = service_fn(move |request: http::Request<Incoming>| {
            let is_draining = Arc::clone(&is_draining);
            let busy = activity.begin_request();
            let response = match request::refuse(&request) {
                Some(refusal) => Either::Left(ready(refusal)),
                None => {
                    let request = request::received(request, &activity);
                    Either::Right(handler.clone().handle(request))
                }
            };
            response.map(move |response| {
                let response = if is_draining.load(Ordering::Relaxed) {
                    close_after(response)
                } else {
                    response
                };
                Ok::<_, Infallible>(response.map(|body| SentBody::new(body, busy)))
            })
        });
        let connection = self.http.serve_connection(TokioIo::new(socket), service);
        let connection = self.watcher.watch(connection);
        tokio::spawn(async move {
            tokio::select! {
                ended = connection => if let Err(error) = ended {
                    tracing::debug!(%error, "connection ended early");
                },
                () = open.activity.closed() => {
                    tracing::debug!("connection closed: its client is too slow, or makes way");
                }
            }
        });
    }

    /// Closes idle connections, ends streams, and waits for in-flight requests.
    async fn drain(self) {
        tracing::info!("shutting down: waiting for in-flight requests");
        self.service.end_streams();
        if timeout(DRAIN_TIMEOUT, self.watcher.shutdown())
            .await
            .is_err()
        {
            let limit_ms = DRAIN_TIMEOUT.as_millis();
            tracing::warn!(limit_ms, "drain timeout: in-flight requests are aborted");
        }
    }
}

/// Listens with a long queue: a client whose connection finds no place there tries again after a
/// second.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A server that is restarted can listen at once.
    socket.set_reuseaddr(true)?;
    // Connections inherit it from the listener.
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Sets socket options: no Nagle delay, as responses are written whole; and a limit on
/// unacknowledged data, so that a client that stops reading is disconnected.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED_TIMEOUT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connections_receive_buffer_is_limited() {
        let listener = listen(([127, 0, 0, 1], 0).into()).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        let size = SockRef::from(&accepted.unwrap().0)
            .recv_buffer_size()
            .unwrap();
        // Linux doubles it, for its own administration.
        assert!(size <= 2 * RECEIVE_BUFFER as usize, "{size}");
        drop(client);
    }
}
