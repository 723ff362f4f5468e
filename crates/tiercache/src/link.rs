//! The connection to the shared level, the breaker that guards it and the mender that heals it.
//!
//! ```text
//!            3 time-outs in a row, or any I/O error
//!   closed ─────────────────────────────────────────▶ open
//!   (a session)                                       (no session: nobody asks)
//!      ▲                                                 │ the mender alone:
//!      └── install ◀── settle debts ◀── PING ◀── connect ┘ at once, then with back-off
//! ```
//!
//! A request never waits for a dead server twice in a row and is never the probe of a new
//! connection. The mender always makes a *new* connection: one that is half open would never
//! answer, however healthy the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, Pipeline, RedisError, RedisResult,
    ServerErrorKind, Value,
};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::commands::unexpected;
use crate::debts::Debts;

/// One late answer may be a hiccup, three in a row are not.
const TIMEOUTS_TO_OPEN: u32 = 3;
/// Commands waiting for the socket, beyond which callers wait (within their limits).
const QUEUE: usize = 512;
const BACK_OFF_FIRST: Duration = Duration::from_millis(25);
const BACK_OFF_CAP: Duration = Duration::from_millis(400);
/// A connection that broke sooner than this was no recovery, so the back-off goes on.
const PROVEN_AFTER: Duration = Duration::from_secs(1);

/// Why a command has no reply.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The breaker is open: nothing was sent.
    Down,
    /// Sent, perhaps, and no answer: it may have been executed, or may yet be.
    Unanswered,
    /// The server answered with an error, or could not be connected to.
    Refused(RedisError),
}

/// One connection, from its installation to its first failure.
pub(crate) struct Session {
    /// What it is for, in the log.
    purpose: &'static str,
    connection: MultiplexedConnection,
    broken: AtomicBool,
    broke: Notify,
    timeouts_in_a_row: AtomicU32,
}

impl Session {
    pub(crate) fn new(purpose: &'static str, connection: MultiplexedConnection) -> Self {
        Self {
            purpose,
            connection,
            broken: AtomicBool::new(false),
            broke: Notify::new(),
            timeouts_in_a_row: AtomicU32::new(0),
        }
    }

    /// Sends one command and waits for its reply, not past the deadline.
    pub(crate) async fn call(&self, command: &Cmd, deadline: Instant) -> Result<Value, Trouble> {
        let mut connection = self.connection.clone();
        let reply = self
            .reply(connection.send_packed_command(command), deadline)
            .await?;
        reply.extract_error().map_err(|error| self.refused(error))
    }

    /// Sends two commands at once. The first one's reply may be an error; then that is the
    /// error of both.
    pub(crate) async fn call_two(
        &self,
        commands: &Pipeline,
        deadline: Instant,
    ) -> Result<[Value; 2], Trouble> {
        let mut connection = self.connection.clone();
        let replies = self
            .reply(connection.send_packed_commands(commands, 0, 2), deadline)
            .await?;
        let refused = |error| self.refused(error);
        match <[Value; 2]>::try_from(replies) {
            Ok([first, second]) => Ok([
                first.extract_error().map_err(refused)?,
                second.extract_error().map_err(refused)?,
            ]),
            Err(_) => Err(unexpected()),
        }
    }

    async fn reply<T>(
        &self,
        sending: impl Future<Output = RedisResult<T>>,
        deadline: Instant,
    ) -> Result<T, Trouble> {
        if self.is_broken() {
            return Err(Trouble::Down);
        }
        // The client's own limit does not cover all of its waits, so it is off.
        match timeout_at(deadline, sending).await {
            Ok(Ok(reply)) => {
                self.timeouts_in_a_row.store(0, Ordering::Relaxed);
                Ok(reply)
            }
            Ok(Err(error)) => {
                self.give_up(&error.to_string());
                Err(Trouble::Unanswered)
            }
            Err(_) => {
                if self.timeouts_in_a_row.fetch_add(1, Ordering::Relaxed) + 1 >= TIMEOUTS_TO_OPEN {
                    self.give_up("too slow");
                }
                Err(Trouble::Unanswered)
            }
        }
    }

    /// A server that answers with an error is alive, so most errors concern their command only.
    /// Those that speak of the server's state would be the answer to every command.
    fn refused(&self, error: RedisError) -> Trouble {
        use ServerErrorKind::{BusyLoading, ClusterDown, MasterDown, ReadOnly};
        if let ErrorKind::Server(BusyLoading | ClusterDown | MasterDown | ReadOnly) = error.kind() {
            self.give_up(&error.to_string());
        }
        Trouble::Refused(error)
    }

    fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    /// Ends when the connection has been given up, for the one task that watches it.
    pub(crate) async fn broken(&self) {
        if !self.is_broken() {
            self.broke.notified().await;
        }
    }

    fn give_up(&self, why: &str) {
        if !self.broken.swap(true, Ordering::AcqRel) {
            tracing::warn!(why, "{} is away", self.purpose);
            self.broke.notify_one();
        }
    }
}

/// What a [`Link`] is told at its start.
pub(crate) struct Limits {
    pub(crate) connect: Duration,
    pub(crate) read: Duration,
    pub(crate) write: Duration,
    pub(crate) heartbeat: Duration,
}

/// The way to the shared level.
pub(crate) struct Link {
    client: Client,
    limits: Limits,
    session: ArcSwapOption<Session>,
    /// Whether there is a session, for those who wait for a change.
    up: watch::Sender<bool>,
    openings: AtomicU64,
}

impl Link {
    pub(crate) fn new(client: Client, limits: Limits) -> Self {
        Self {
            client,
            limits,
            session: ArcSwapOption::empty(),
            up: watch::Sender::new(false),
            openings: AtomicU64::new(0),
        }
    }

    /// The session, while the breaker is closed.
    pub(crate) fn session(&self) -> Option<Arc<Session>> {
        self.session
            .load_full()
            .filter(|session| !session.is_broken())
    }

    /// Waits until the breaker is closed, or open.
    pub(crate) async fn until(&self, up: bool) {
        // An error means that the sender is gone; it is in `self`.
        let _ = self.up.subscribe().wait_for(|now| *now == up).await;
    }

    /// How often the breaker has opened.
    pub(crate) fn openings(&self) -> u64 {
        self.openings.load(Ordering::Relaxed)
    }

    /// Connects, watches, and connects again; never returns.
    pub(crate) async fn mend(&self, debts: &Debts) {
        let mut back_off = BackOff::new();
        loop {
            let session = Arc::new(self.connect_at_last(debts, &mut back_off).await);
            let since = Instant::now();
            self.session.store(Some(Arc::clone(&session)));
            self.up.send_replace(true);
            tracing::info!("the shared cache level is in use");
            self.watch(&session, debts).await;
            self.session.store(None);
            self.up.send_replace(false);
            self.openings.fetch_add(1, Ordering::Relaxed);
            if since.elapsed() >= PROVEN_AFTER {
                back_off = BackOff::new();
            } else {
                sleep(back_off.next()).await;
            }
        }
    }

    /// Tries until it succeeds, however long that takes.
    async fn connect_at_last(&self, debts: &Debts, back_off: &mut BackOff) -> Session {
        let mut attempts: u64 = 0;
        loop {
            let trouble = match timeout(self.limits.connect, self.connect()).await {
                Ok(Ok(session)) => match debts.settle(&session, self.limits.write).await {
                    Ok(()) => return session,
                    Err(trouble) => trouble,
                },
                Ok(Err(trouble)) => trouble,
                Err(_) => Trouble::Unanswered,
            };
            if attempts == 0 {
                tracing::warn!(
                    ?trouble,
                    "cannot connect to the shared cache level; trying on"
                );
            }
            attempts += 1;
            sleep(back_off.next()).await;
        }
    }

    /// A new connection to a server that answers.
    async fn connect(&self) -> Result<Session, Trouble> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_pipeline_buffer_size(QUEUE);
        let connecting = self
            .client
            .get_multiplexed_async_connection_with_config(&config);
        let session = Session::new(
            "the shared cache level",
            connecting.await.map_err(Trouble::Refused)?,
        );
        session.ping(self.limits.connect).await?;
        Ok(session)
    }

    /// Returns when the session has broken. The heartbeat finds that out before a user does,
    /// and settles what came to be owed while the session lasted.
    async fn watch(&self, session: &Session, debts: &Debts) {
        while !session.is_broken() {
            match session.ping(self.limits.read).await {
                Ok(()) => {}
                Err(Trouble::Refused(error)) => {
                    session.give_up(&error.to_string());
                    return;
                }
                Err(_) => continue, // at once: three in a row open the breaker
            }
            if let Err(trouble) = debts.settle(session, self.limits.write).await {
                tracing::warn!(?trouble, "an invalidation is still owed");
            }
            let _ = timeout(self.limits.heartbeat, session.broken()).await;
        }
    }
}

/// Pauses between attempts: doubled each time up to a cap, and a random half of it taken off,
/// so that many replicas do not knock at a returning server in step.
pub(crate) struct BackOff(Duration);

impl BackOff {
    pub(crate) fn new() -> Self {
        Self(BACK_OFF_FIRST)
    }

    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(BACK_OFF_CAP);
        pause.mul_f64(rand::random_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_off_grows_to_its_cap_and_is_never_in_step() {
        let mut back_off = BackOff::new();
        let pauses: Vec<Duration> = (0..20).map(|_| back_off.next()).collect();
        assert!(pauses[0] <= BACK_OFF_FIRST);
        assert!(pauses.iter().all(|pause| *pause <= BACK_OFF_CAP));
        assert!(pauses[10..].iter().all(|pause| *pause >= BACK_OFF_CAP / 2));
        assert_ne!(pauses[10], pauses[11]);
    }
}
