//! One proxied connection: a reader and a writer for each direction.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::{Direction, Mode, ProxyState, connect};

/// Chunks buffered in each direction, of at most [`CHUNK_BYTES`] each.
const BUFFERED_CHUNKS: usize = 64;
const CHUNK_BYTES: usize = 16 * 1024;

/// Faults requested for one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Control {
    reset: bool,
    /// Indexed by [`Direction`].
    half_closed: [bool; 2],
}

/// The handle of a proxied connection, which runs in a task of its own.
#[derive(Debug)]
pub(super) struct Connection {
    control: watch::Sender<Control>,
}

/// The outcome of forwarding one direction.
enum End {
    /// The end of the stream was forwarded to the receiver.
    Closed,
    /// The whole connection must be reset.
    Reset,
}

impl Connection {
    /// Connects to the upstream server and forwards both directions until they end.
    pub(super) fn start(client: TcpStream, state: Arc<ProxyState>) -> Self {
        let (control, receiver) = watch::channel(Control::default());
        tokio::spawn(run(client, state, receiver));
        Self { control }
    }

    /// True while the connection's task runs.
    pub(super) fn is_open(&self) -> bool {
        !self.control.is_closed()
    }

    /// Resets both sides; false if the connection had already ended.
    pub(super) fn reset(&self) -> bool {
        self.control.send_modify(|control| control.reset = true);
        self.is_open()
    }

    /// Closes one direction (FIN).
    pub(super) fn half_close(&self, direction: Direction) {
        self.control
            .send_modify(|control| control.half_closed[direction as usize] = true);
    }
}

/// Makes the socket send RST instead of FIN when it is closed.
pub(super) fn reset(socket: &TcpStream) {
    // Fails only on a socket that is already closed.
    let _ = socket.set_zero_linger();
}

async fn run(client: TcpStream, state: Arc<ProxyState>, mut control: watch::Receiver<Control>) {
    let Ok(server) = connect(state.upstream).await else {
        return reset(&client);
    };
    // Otherwise a response sent in two writes waits for the client's delayed ACK.
    let _ = client.set_nodelay(true);
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut to_server = Forwarder::new(Direction::ToServer, to_server, &state, &control);
    let mut to_client = Forwarder::new(Direction::ToClient, to_client, &state, &control);
    let both = async {
        // A reset ends both directions at once; a close waits for the other direction.
        tokio::try_join!(
            to_server.forward(from_client),
            to_client.forward(from_server)
        )
        .is_err()
    };
    let reset_both = tokio::select! {
        failed = both => failed,
        () = requested(&mut control, |control| control.reset) => true,
    };
    if reset_both {
        for half in [to_server.to, to_client.to] {
            reset(half.as_ref());
            // Dropping the half would send a FIN before the RST.
            half.forget();
        }
    }
}

/// Waits until a fault is requested; forever if the proxy is dropped without requesting it.
async fn requested(control: &mut watch::Receiver<Control>, fault: impl FnMut(&Control) -> bool) {
    if control.wait_for(fault).await.is_err() {
        pending::<()>().await;
    }
}

/// Forwards one direction of a connection.
struct Forwarder<'a> {
    direction: Direction,
    to: OwnedWriteHalf,
    state: &'a ProxyState,
    modes: watch::Receiver<Mode>,
    control: watch::Receiver<Control>,
}

impl<'a> Forwarder<'a> {
    fn new(
        direction: Direction,
        to: OwnedWriteHalf,
        state: &'a ProxyState,
        control: &watch::Receiver<Control>,
    ) -> Self {
        let modes = state.modes[direction as usize].subscribe();
        Self {
            direction,
            to,
            state,
            modes,
            control: control.clone(),
        }
    }

    async fn forward(&mut self, from: OwnedReadHalf) -> Result<(), ()> {
        let (sender, receiver) = mpsc::channel(BUFFERED_CHUNKS);
        let mut control = self.control.clone();
        let direction = self.direction as usize;
        // Reads continue while chunks are delayed or held, so that each gets its own arrival time.
        let mut from = from;
        let reading = async {
            read(&mut from, sender).await;
            pending().await
        };
        let end = tokio::select! {
            end = self.write(receiver) => end,
            end = reading => end,
            () = requested(&mut control, |control| control.half_closed[direction]) => self.close().await,
        };
        if matches!(end, End::Reset) {
            return Err(());
        }
        Ok(())
    }

    async fn write(&mut self, mut chunks: mpsc::Receiver<(Instant, Vec<u8>)>) -> End {
        while let Some((arrived, chunk)) = chunks.recv().await {
            if self.wait_until_due(arrived).await == Mode::BlackHole {
                continue;
            }
            let granted = self.state.take_budget(self.direction, chunk.len());
            if self.to.write_all(&chunk[..granted]).await.is_err() {
                return End::Reset;
            }
            self.state.bytes[self.direction as usize].fetch_add(granted as u64, Ordering::Relaxed);
            if granted < chunk.len() {
                return End::Reset;
            }
        }
        // The mode applies to the end of the stream as well.
        let ended = Instant::now();
        while self.wait_until_due(ended).await == Mode::BlackHole {
            if self.modes.changed().await.is_err() {
                return End::Reset;
            }
        }
        self.close().await
    }

    /// Waits as long as the mode requires, following changes of it, and returns the final mode.
    async fn wait_until_due(&mut self, arrived: Instant) -> Mode {
        loop {
            let mode = *self.modes.borrow_and_update();
            let wait = match mode {
                Mode::Pass | Mode::BlackHole => return mode,
                Mode::Delay(delay) => (arrived + delay).saturating_duration_since(Instant::now()),
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

/// Reads to the end of the stream; a reset counts as its end.
async fn read(from: &mut OwnedReadHalf, chunks: mpsc::Sender<(Instant, Vec<u8>)>) {
    let mut buffer = vec![0; CHUNK_BYTES];
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
