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

/// How long a connection may stay silent, or take to send the head of a request.
const HEAD: Duration = Duration::from_secs(9);
/// How long requests under way may take to end after the signal to stop.
const DRAIN: Duration = Duration::from_secs(8);
/// How long a client may leave an answer unread.
const UNREAD: Duration = Duration::from_secs(30);
/// The most that one connection keeps in memory to be read or written, in bytes; a request's
/// head must fit.
const BUFFER: usize = 64 * 1024;
/// How long to wait when a connection cannot be accepted (no file descriptor left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What stands behind a server's sockets; cheap to clone.
pub trait Service: Clone + Send + 'static {
    /// Answers a request, whatever happens.
    fn answer(self, request: Request) -> impl Future<Output = Response> + Send;

    /// Breaks off the answers that have no end.
    fn end_streams(&self) {}
}

/// A bound server.
pub struct Server<S> {
    listener: TcpListener,
    service: S,
}

impl<S: Service> Server<S> {
    /// Takes the address.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn bind(address: SocketAddr, service: S) -> io::Result<Self> {
        Ok(Self {
            listener: TcpListener::bind(address).await?,
            service,
        })
    }

    /// The address that was bound.
    ///
    /// # Errors
    /// When the operating system cannot tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown` ends, then lets requests under way end, for 8 s at most.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let connections = GracefulShutdown::new();
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_buf_size(BUFFER);
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => serve(&http, stream, &self.service, &connections),
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(self.listener);
        tracing::info!("stopping: waiting for requests under way");
        self.service.end_streams();
        if timeout(DRAIN, connections.shutdown()).await.is_err() {
            tracing::warn!(
                "requests still under way after {} s are cut",
                DRAIN.as_secs()
            );
        }
    }
}

fn serve<S: Service>(
    http: &http1::Builder,
    stream: TcpStream,
    answering: &S,
    connections: &GracefulShutdown,
) {
    if let Err(error) = prepare(&stream) {
        tracing::debug!(%error, "a connection closed at once");
        return;
    }
    let answering = answering.clone();
    let service = service_fn(move |request: http::Request<Incoming>| {
        let answer = answering.clone().answer(request.map(Body::new));
        answer.map(Ok::<_, std::convert::Infallible>)
    });
    let connection = http.serve_connection(TokioIo::new(stream), service);
    let connection = connections.watch(connection);
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection ended early");
        }
    });
}

/// Answers are written whole: waiting to fill a packet would only add delay. A client that takes
/// nothing of its answer is let go by the operating system.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_user_timeout(Some(UNREAD))
}

/// Ends when the process is asked to: SIGTERM, or Ctrl-C.
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
