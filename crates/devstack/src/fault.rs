//! A TCP proxy that breaks connections on purpose.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::ports::Port;
use crate::{Error, Result};

mod link;

/// A frozen server whose queue of connections is full answers no more.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// A direction through the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

/// What happens to the bytes (and the end) of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Passed on at once.
    #[default]
    Pass,
    /// Passed on this long after they came: latency, not a limit of the rate.
    Delay(Duration),
    /// Swallowed: the sender sees success, the receiver sees nothing, not even the end of the stream.
    BlackHole,
    /// Kept (64 chunks of up to 16 KiB, then the sender is held up) until another mode is set, then let go.
    Hold,
}

/// A TCP proxy on a free port of 127.0.0.1, on the runtime of the test that made it. Dropping it ends its connections.
#[derive(Debug)]
pub struct FaultProxy {
    shared: Arc<Shared>,
    port: Port,
    accepting: tokio::sync::Mutex<Option<AbortHandle>>,
}

/// What the connections look at while they run.
#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    /// By [`Direction`].
    modes: [watch::Sender<Mode>; 2],
    /// Bytes that may still pass before the connections are reset; negative = no limit. By [`Direction`].
    budgets: [AtomicI64; 2],
    bytes: [AtomicU64; 2],
    connections: AtomicU64,
    /// The number of the connection that is reset; 0 = none.
    refused: AtomicU64,
    links: Mutex<Vec<link::Link>>,
}

impl FaultProxy {
    /// Starts a proxy in front of `upstream`.
    ///
    /// # Errors
    /// [`Error::NoPort`], [`Error::Io`].
    pub async fn start(upstream: SocketAddr) -> Result<Self> {
        let shared = Shared {
            upstream,
            modes: [
                watch::Sender::new(Mode::Pass),
                watch::Sender::new(Mode::Pass),
            ],
            budgets: [AtomicI64::new(-1), AtomicI64::new(-1)],
            bytes: Default::default(),
            connections: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            links: Mutex::default(),
        };
        let proxy = Self {
            shared: Arc::new(shared),
            port: Port::lease()?,
            accepting: Default::default(),
        };
        proxy.refuse(false).await?;
        Ok(proxy)
    }

    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// The port where clients connect.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Sets what happens to one direction, for the connections there are and those to come.
    pub fn set(&self, direction: Direction, mode: Mode) {
        self.shared.modes[direction as usize].send_replace(mode);
    }

    /// [`set`](Self::set) for both directions.
    pub fn set_both(&self, mode: Mode) {
        self.set(Direction::ToServer, mode);
        self.set(Direction::ToClient, mode);
    }

    /// Back to normal: both directions pass, nothing is refused or cut.
    ///
    /// # Errors
    /// [`Error::Io`] when it had refused connections and cannot listen again.
    pub async fn heal(&self) -> Result<()> {
        self.set_both(Mode::Pass);
        self.cut_after(Direction::ToServer, None);
        self.cut_after(Direction::ToClient, None);
        self.shared.refused.store(0, Ordering::Relaxed);
        self.refuse(false).await
    }

    /// Closes the listener (`true`), so that connecting is refused, or listens again on the same port (`false`).
    /// Connections that are open go on.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot listen.
    pub async fn refuse(&self, refuse: bool) -> Result<()> {
        let mut accepting = self.accepting.lock().await;
        if !refuse && accepting.is_none() {
            let listener = TcpListener::bind(self.addr())
                .await
                .map_err(Error::io("listening"))?;
            let shared = Arc::clone(&self.shared);
            *accepting = Some(tokio::spawn(accept(listener, shared)).abort_handle());
        } else if refuse && let Some(task) = accepting.take() {
            task.abort();
            // The listener is closed when the runtime has dropped the task.
            while !task.is_finished() {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    /// Resets the `n`th connection from now on when it comes (1 = the next one).
    pub fn refuse_nth(&self, n: u64) {
        self.shared
            .refused
            .store(self.connections() + n, Ordering::Relaxed);
    }

    /// Resets every open connection on both sides (RST). Returns how many there were.
    pub fn reset_all(&self) -> usize {
        let links = std::mem::take(&mut *self.shared.links());
        links.iter().filter(|link| link.reset()).count()
    }

    /// Ends this direction of every open connection (FIN); the other direction goes on.
    pub fn half_close(&self, direction: Direction) {
        self.shared
            .links()
            .iter()
            .for_each(|link| link.half_close(direction));
    }

    /// Resets the connection that would carry more than `bytes` more bytes (of all connections together) in that
    /// direction, after passing on what is within the limit; from then on each that carries anything. `None` = no limit.
    pub fn cut_after(&self, direction: Direction, bytes: Option<u32>) {
        let budget = bytes.map_or(-1, i64::from);
        self.shared.budgets[direction as usize].store(budget, Ordering::Relaxed);
    }

    /// Connections accepted since the start, refused ones included.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Connections that are open now.
    pub fn open(&self) -> usize {
        let mut links = self.shared.links();
        links.retain(link::Link::is_open);
        links.len()
    }

    /// Bytes passed on in that direction since the start.
    pub fn bytes(&self, direction: Direction) -> u64 {
        self.shared.bytes[direction as usize].load(Ordering::Relaxed)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        if let Some(task) = self.accepting.get_mut().take() {
            task.abort();
        }
        self.reset_all();
    }
}

impl Shared {
    fn links(&self) -> MutexGuard<'_, Vec<link::Link>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many of these bytes may pass; fewer than asked for means that the connection is cut after them.
    fn pass(&self, direction: Direction, wanted: usize) -> usize {
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

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // An error here (out of descriptors) concerns one connection only.
    loop {
        let Ok((client, _)) = listener.accept().await else {
            continue;
        };
        let number = shared.connections.fetch_add(1, Ordering::Relaxed) + 1;
        if shared.refused.load(Ordering::Relaxed) == number {
            link::reset(&client);
            continue;
        }
        let link = link::Link::start(client, Arc::clone(&shared));
        let mut links = shared.links();
        links.retain(link::Link::is_open);
        links.push(link);
    }
}

async fn connect(upstream: SocketAddr) -> io::Result<TcpStream> {
    let server = tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(upstream)).await??;
    server.set_nodelay(true)?;
    Ok(server)
}
