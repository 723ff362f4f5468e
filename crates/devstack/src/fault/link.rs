//! One connection through the proxy: a reader and a writer for each direction.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::{Direction, Mode, Shared, connect};

/// Chunks that are kept on their way, of [`CHUNK`] bytes at most.
const CHUNKS: usize = 64;
const CHUNK: usize = 16 * 1024;

/// What the proxy tells a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Orders {
    reset: bool,
    /// By [`Direction`].
    half_closed: [bool; 2],
}

/// The handle of a connection that runs in tasks of its own.
#[derive(Debug)]
pub(super) struct Link {
    orders: watch::Sender<Orders>,
}

/// How a direction ended.
enum End {
    /// The sender closed it, or the proxy was told to, and the receiver was told.
    Closed,
    /// The connection is to be reset.
    Reset,
}

impl Link {
    pub(super) fn start(client: TcpStream, shared: Arc<Shared>) -> Self {
        let (orders, receiver) = watch::channel(Orders::default());
        tokio::spawn(run(client, shared, receiver));
        Self { orders }
    }

    /// Whether the connection's tasks still run.
    pub(super) fn is_open(&self) -> bool {
        !self.orders.is_closed()
    }

    /// Resets both sides; false when it had ended before.
    pub(super) fn reset(&self) -> bool {
        self.orders.send_modify(|orders| orders.reset = true);
        self.is_open()
    }

    pub(super) fn half_close(&self, direction: Direction) {
        self.orders
            .send_modify(|orders| orders.half_closed[direction as usize] = true);
    }
}

/// Has the socket send RST instead of FIN when it is closed.
pub(super) fn reset(socket: &TcpStream) {
    // A socket that is already dead needs no RST.
    let _ = socket.set_zero_linger();
}

async fn run(client: TcpStream, shared: Arc<Shared>, mut orders: watch::Receiver<Orders>) {
    let Ok(server) = connect(shared.upstream).await else {
        return reset(&client);
    };
    // Without it an answer in two parts waits for the client's delayed acknowledgement.
    let _ = client.set_nodelay(true);
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut to_server = Pump::new(Direction::ToServer, to_server, &shared, &orders);
    let mut to_client = Pump::new(Direction::ToClient, to_client, &shared, &orders);
    let both = async {
        // The first reset ends both at once, a close waits for the other direction.
        tokio::try_join!(
            to_server.forward(from_client),
            to_client.forward(from_server)
        )
        .is_err()
    };
    let cut = tokio::select! {
        cut = both => cut,
        () = told(&mut orders, |orders| orders.reset) => true,
    };
    if cut {
        for half in [to_server.to, to_client.to] {
            reset(half.as_ref());
            // Dropping it would send a FIN before the RST.
            half.forget();
        }
    }
}

/// Waits until the proxy says so; for ever when the proxy is gone without a word.
async fn told(orders: &mut watch::Receiver<Orders>, what: impl FnMut(&Orders) -> bool) {
    if orders.wait_for(what).await.is_err() {
        pending::<()>().await;
    }
}

/// One direction of a connection.
struct Pump<'a> {
    direction: Direction,
    to: OwnedWriteHalf,
    shared: &'a Shared,
    modes: watch::Receiver<Mode>,
    orders: watch::Receiver<Orders>,
}

impl<'a> Pump<'a> {
    fn new(
        direction: Direction,
        to: OwnedWriteHalf,
        shared: &'a Shared,
        orders: &watch::Receiver<Orders>,
    ) -> Self {
        let modes = shared.modes[direction as usize].subscribe();
        Self {
            direction,
            to,
            shared,
            modes,
            orders: orders.clone(),
        }
    }

    async fn forward(&mut self, from: OwnedReadHalf) -> Result<(), ()> {
        let (sender, receiver) = mpsc::channel(CHUNKS);
        let mut orders = self.orders.clone();
        let direction = self.direction as usize;
        // Reads on while chunks are delayed or held, so that each has the time at which it came.
        let mut from = from;
        let reading = async {
            read(&mut from, sender).await;
            pending().await
        };
        let end = tokio::select! {
            end = self.write(receiver) => end,
            end = reading => end,
            () = told(&mut orders, |orders| orders.half_closed[direction]) => self.close().await,
        };
        if matches!(end, End::Reset) {
            return Err(());
        }
        Ok(())
    }

    async fn write(&mut self, mut chunks: mpsc::Receiver<(Instant, Vec<u8>)>) -> End {
        while let Some((came, chunk)) = chunks.recv().await {
            if self.gate(came).await == Mode::BlackHole {
                continue;
            }
            let granted = self.shared.pass(self.direction, chunk.len());
            if self.to.write_all(&chunk[..granted]).await.is_err() {
                return End::Reset;
            }
            self.shared.bytes[self.direction as usize].fetch_add(granted as u64, Ordering::Relaxed);
            if granted < chunk.len() {
                return End::Reset;
            }
        }
        // The end of the stream is subject to the mode as well.
        let ended = Instant::now();
        while self.gate(ended).await == Mode::BlackHole {
            if self.modes.changed().await.is_err() {
                return End::Reset;
            }
        }
        self.close().await
    }

    /// Waits as long as the mode wants, whichever it is by then, and returns it.
    async fn gate(&mut self, came: Instant) -> Mode {
        loop {
            let mode = *self.modes.borrow_and_update();
            let wait = match mode {
                Mode::Pass | Mode::BlackHole => return mode,
                Mode::Delay(delay) => (came + delay).saturating_duration_since(Instant::now()),
                Mode::Hold => Duration::MAX,
            };
            if wait.is_zero() {
                return mode;
            }
            tokio::select! {
                () = sleep(wait) => {}
                changed = self.modes.changed() => if changed.is_err() { return Mode::Pass },
            }
        }
    }

    async fn close(&mut self) -> End {
        match self.to.shutdown().await {
            Ok(()) => End::Closed,
            Err(_) => End::Reset,
        }
    }
}

async fn sleep(duration: Duration) {
    match Instant::now().checked_add(duration) {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => pending().await,
    }
}

/// Reads to the end of the stream; a reset counts as one.
async fn read(from: &mut OwnedReadHalf, chunks: mpsc::Sender<(Instant, Vec<u8>)>) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        if chunks
            .send((Instant::now(), buffer[..n].to_vec()))
            .await
            .is_err()
        {
            return;
        }
    }
}
