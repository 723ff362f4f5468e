//! One connection to the shared level: commands with a limit each, and when to give it up.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, Pipeline, RedisError, RedisResult,
    ServerErrorKind, Value,
};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// One late answer may be a hiccup, three in a row are not.
const TIMEOUTS_TO_OPEN: u32 = 3;

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
    /// A new connection. What it is for is said in the log when it is away. The limits are the
    /// callers': the client's own do not cover all of its waits.
    pub(crate) async fn open(
        client: &Client,
        purpose: &'static str,
        config: AsyncConnectionConfig,
    ) -> Result<Self, Trouble> {
        let config = config
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        Ok(Self {
            purpose,
            connection: connecting.await.map_err(Trouble::Refused)?,
            broken: AtomicBool::new(false),
            broke: Notify::new(),
            timeouts_in_a_row: AtomicU32::new(0),
        })
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

    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    /// Ends when the connection has been given up, for the one task that watches it.
    pub(crate) async fn broken(&self) {
        if !self.is_broken() {
            self.broke.notified().await;
        }
    }

    pub(crate) fn give_up(&self, why: &str) {
        if !self.broken.swap(true, Ordering::AcqRel) {
            tracing::warn!(why, "{} is away", self.purpose);
            self.broke.notify_one();
        }
    }
}

/// The error of a reply that is none to its command.
pub(crate) fn unexpected() -> Trouble {
    Trouble::Refused(
        (
            ErrorKind::UnexpectedReturnType,
            "not a reply to this command",
        )
            .into(),
    )
}
