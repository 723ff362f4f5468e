//! Sockets: accept, serve with limits, drain.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use futures_util::FutureExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

/// The time limit for the head of a request, from the end of the one before: also the keep-alive
/// timeout.
const HEAD_TIMEOUT: Duration = Duration::from_secs(9);
/// The time limit for in-flight requests after the shutdown signal.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(8);
/// The time limit for a client to acknowledge sent data, after which its connection is reset.
const UNACKNOWLEDGED_TIMEOUT: Duration = Duration::from_secs(30);
/// The limit of a connection's read and write buffers, in bytes; a request's head must fit.
const MAX_BUFFER: usize = 64 * 1024;
/// The pause after a failed accept, such as for want of file descriptors.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// A request handler behind a server's sockets; cheap to clone.
pub trait Service: Clone + Send + 'static {
    /// Handles a request; never fails.
    fn handle(self, request: Request) -> impl Future<Output = Response> + Send;

    /// Ends the responses that would otherwise never end.
    fn end_streams(&self) {}
}

/// A bound server.
pub struct Server<S> {
    listener: TcpListener,
    service: S,
}

impl<S: Service> Server<S> {
    /// Binds the address.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn bind(address: SocketAddr, service: S) -> io::Result<Self> {
        Ok(Self {
            listener: TcpListener::bind(address).await?,
            service,
        })
    }

    /// The bound address, with the port that the operating system chose for port 0.
    ///
    /// # Errors
    /// When the operating system does not report it.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown` completes; then in-flight requests get up to 8 s to finish.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let connections = GracefulShutdown::new();
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(MAX_BUFFER);
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => serve(&http, stream, &self.service, &connections),
                    Err(error) => {
                        tracing::warn!(%error, "accept failed: retrying");
                        sleep(ACCEPT_BACKOFF).await;
                    }
                },
            }
        }
        drop(self.listener);
        tracing::info!("shutting down: waiting for in-flight requests");
        self.service.end_streams();
        if timeout(DRAIN_TIMEOUT, connections.shutdown())
            .await
            .is_err()
        {
            let limit_ms = DRAIN_TIMEOUT.as_millis();
            tracing::warn!(limit_ms, "drain timeout: in-flight requests are aborted");
        }
    }
}

fn serve<S: Service>(
    http: &http1::Builder,
    stream: TcpStream,
    handler: &S,
    connections: &GracefulShutdown,
) {
    if let Err(error) = prepare(&stream) {
        tracing::debug!(%error, "connection closed before its first request");
        return;
    }
    let handler = handler.clone();
    let service = service_fn(move |request: http::Request<Incoming>| {
        let response = handler.clone().handle(request.map(Body::new));
        response.map(Ok::<_, std::convert::Infallible>)
    });
    let connection = http.serve_connection(TokioIo::new(stream), service);
    let connection = connections.watch(connection);
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection ended early");
        }
    });
}

/// Sets socket options: no Nagle delay, as responses are written whole; and a limit on
/// unacknowledged data, so that a client that stops reading is disconnected.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED_TIMEOUT))
}

/// Completes on SIGTERM or Ctrl-C.
pub async fn shutdown_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut term) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    let interrupt = tokio::signal::ctrl_c();
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt => {}
    }
}
