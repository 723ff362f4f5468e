//! Fault injection: a TCP proxy that delays, drops, holds, cuts and resets connections on demand.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::ports::Port;
use crate::{Error, Result};

mod connection;

use connection::{Connection, reset};

/// Limit for connecting to the upstream server: a frozen one with a full accept queue never
/// completes the handshake.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// A direction of traffic through the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

/// The treatment of the bytes, and of the end of the stream, in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Forwarded at once.
    #[default]
    Pass,
    /// Forwarded this long after their arrival: added latency, not a limit on throughput.
    Delay(Duration),
    /// Discarded: the sender's writes succeed, the receiver gets nothing, not even the end of the
    /// stream.
    BlackHole,
    /// Buffered (up to 64 chunks of 16 KiB, then the sender blocks) until another mode is set, then
    /// forwarded.
    Hold,
}

/// A TCP proxy on a free port of 127.0.0.1. It runs on the runtime that started it; dropping it
/// resets its connections.
#[derive(Debug)]
pub struct FaultProxy {
    state: Arc<ProxyState>,
    port: Port,
    acceptor: tokio::sync::Mutex<Option<AbortHandle>>,
}

/// State that the proxy shares with its connections.
#[derive(Debug)]
struct ProxyState {
    upstream: SocketAddr,
    /// Indexed by [`Direction`], as are the next two.
    modes: [watch::Sender<Mode>; 2],
    /// Bytes that may still pass before connections are reset; negative = no limit.
    budgets: [AtomicI64; 2],
    bytes: [AtomicU64; 2],
    /// Connections accepted since the start.
    accepted: AtomicU64,
    /// The ordinal of the connection to reset on accept; 0 = none.
    reset_on_accept: AtomicU64,
    connections: Mutex<Vec<Connection>>,
}

impl FaultProxy {
    /// Starts a proxy in front of `upstream`.
    ///
    /// # Errors
    /// [`Error::NoPort`], [`Error::Io`].
    pub async fn start(upstream: SocketAddr) -> Result<Self> {
        let state = ProxyState {
            upstream,
            modes: [
                watch::Sender::new(Mode::Pass),
                watch::Sender::new(Mode::Pass),
            ],
            budgets: [AtomicI64::new(-1), AtomicI64::new(-1)],
            bytes: Default::default(),
            accepted: AtomicU64::new(0),
            reset_on_accept: AtomicU64::new(0),
            connections: Mutex::default(),
        };
        let proxy = Self {
            state: Arc::new(state),
            port: Port::lease()?,
            acceptor: Default::default(),
        };
        proxy.refuse(false).await?;
        Ok(proxy)
    }

    /// The address for clients.
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// The port for clients, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Sets the mode of one direction, for open and future connections.
    pub fn set(&self, direction: Direction, mode: Mode) {
        self.state.modes[direction as usize].send_replace(mode);
    }

    /// [`set`](Self::set) for both directions.
    pub fn set_both(&self, mode: Mode) {
        self.set(Direction::ToServer, mode);
        self.set(Direction::ToClient, mode);
    }

    /// Removes every fault: both directions pass, nothing is refused or cut.
    ///
    /// # Errors
    /// [`Error::Io`] when the listener was closed and cannot be bound again.
    pub async fn heal(&self) -> Result<()> {
        self.set_both(Mode::Pass);
        self.cut_after(Direction::ToServer, None);
        self.cut_after(Direction::ToClient, None);
        self.state.reset_on_accept.store(0, Ordering::Relaxed);
        self.refuse(false).await
    }

    /// Closes the listener (`true`), so that new connections are refused, or binds it again on the
    /// same port (`false`). Open connections are not affected.
    ///
    /// # Errors
    /// [`Error::Io`] when the port cannot be bound.
    pub async fn refuse(&self, refuse: bool) -> Result<()> {
        let mut acceptor = self.acceptor.lock().await;
        if !refuse && acceptor.is_none() {
            let listener = TcpListener::bind(self.addr())
                .await
                .map_err(Error::io("listening"))?;
            let state = Arc::clone(&self.state);
            *acceptor = Some(tokio::spawn(accept(listener, state)).abort_handle());
        } else if refuse && let Some(task) = acceptor.take() {
            task.abort();
            // The listener stays open until the runtime has dropped the task.
            while !task.is_finished() {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    /// Resets the `n`th connection from now on as it is accepted (1 = the next one).
    pub fn refuse_nth(&self, n: u64) {
        self.state
            .reset_on_accept
            .store(self.connections() + n, Ordering::Relaxed);
    }

    /// Resets every open connection on both sides (RST); returns their number.
    pub fn reset_all(&self) -> usize {
        let connections = std::mem::take(&mut *self.state.connections());
        connections.iter().filter(|open| open.reset()).count()
    }

    /// Closes this direction of every open connection (FIN); the other direction stays open.
    pub fn half_close(&self, direction: Direction) {
        for open in self.state.connections().iter() {
            open.half_close(direction);
        }
    }

    /// Forwards `bytes` more bytes in that direction, counted over all connections, then resets
    /// every connection that carries more. `None` = no limit.
    pub fn cut_after(&self, direction: Direction, bytes: Option<u32>) {
        let budget = bytes.map_or(-1, i64::from);
        self.state.budgets[direction as usize].store(budget, Ordering::Relaxed);
    }

    /// Connections accepted since the start, including those that were reset on accept.
    pub fn connections(&self) -> u64 {
        self.state.accepted.load(Ordering::Relaxed)
    }

    /// The number of open connections.
    pub fn open(&self) -> usize {
        let mut connections = self.state.connections();
        connections.retain(Connection::is_open);
        connections.len()
    }

    /// Bytes forwarded in that direction since the start.
    pub fn bytes(&self, direction: Direction) -> u64 {
        self.state.bytes[direction as usize].load(Ordering::Relaxed)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        if let Some(task) = self.acceptor.get_mut().take() {
            task.abort();
        }
        self.reset_all();
    }
}

impl ProxyState {
    fn connections(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.connections.lock()
    }

    /// Takes up to `wanted` bytes from the direction's budget; fewer means that the connection must
    /// be reset after them.
    fn take_budget(&self, direction: Direction, wanted: usize) -> usize {
        let wanted = i64::try_from(wanted).unwrap_or(i64::MAX);
        let take = |left: i64| (left >= 0).then(|| (left - wanted).max(0));
        let granted = match self.budgets[direction as usize].fetch_update(
            Ordering::Relaxed,
            Ordering::Relaxed,
            take,
        ) {
            Ok(left) => wanted.min(left),
            Err(_) => wanted,
        };
        usize::try_from(granted).unwrap_or(0)
    }
}

async fn accept(listener: TcpListener, state: Arc<ProxyState>) {
    // An accept error (out of file descriptors) affects that connection only.
    loop {
        let Ok((client, _)) = listener.accept().await else {
            continue;
        };
        let ordinal = state.accepted.fetch_add(1, Ordering::Relaxed) + 1;
        if state.reset_on_accept.load(Ordering::Relaxed) == ordinal {
            reset(&client);
            continue;
        }
        let connection = Connection::start(client, Arc::clone(&state));
        let mut connections = state.connections();
        connections.retain(Connection::is_open);
        connections.push(connection);
    }
}

async fn connect(upstream: SocketAddr) -> io::Result<TcpStream> {
    let server = tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(upstream)).await??;
    server.set_nodelay(true)?;
    Ok(server)
}
