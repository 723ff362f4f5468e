//! A connection to Valkey: commands with a deadline each, and when to close it.
//!
//! * [`breaker`]: the circuit breaker, which holds the connection for commands;
//! * [`reconnect`]: the loop that keeps it alive or replaces it;
//! * [`tracker`]: the dedicated connection for client tracking.

pub(crate) mod backoff;
pub(crate) mod breaker;
pub(crate) mod reconnect;
pub(crate) mod tracker;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, Pipeline, RedisError, RedisResult, ServerErrorKind,
    Value,
};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// Consecutive timeouts that close a connection. One may be a hiccup.
const MAX_CONSECUTIVE_TIMEOUTS: u32 = 3;

/// The reason why a command has no reply.
#[derive(Debug)]
pub(crate) enum CommandError {
    /// The circuit breaker is open: nothing was sent.
    CircuitOpen,
    /// No reply in time, or the connection failed. The command may have been executed, or may
    /// yet be.
    Timeout,
    /// The server replied with an error, or the connection could not be established.
    Server(RedisError),
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CircuitOpen => f.write_str("not connected"),
            Self::Timeout => f.write_str("no reply in time"),
            Self::Server(error) => error.fmt(f),
        }
    }
}

/// A connection, from its establishment to its first failure.
pub(crate) struct Connection {
    /// Its use, for the log.
    purpose: &'static str,
    socket: MultiplexedConnection,
    is_closed: AtomicBool,
    closed: Notify,
    consecutive_timeouts: AtomicU32,
}

impl Connection {
    /// Establishes a connection. It has no timeout of its own: callers apply theirs, since the
    /// client's do not cover all of its waits.
    pub(crate) async fn open(
        purpose: &'static str,
        config: AsyncConnectionConfig,
        connect: impl AsyncFnOnce(AsyncConnectionConfig) -> RedisResult<MultiplexedConnection>,
    ) -> Result<Self, CommandError> {
        let config = config
            .set_connection_timeout(None)
            .set_response_timeout(None);
        Ok(Self {
            purpose,
            socket: connect(config).await.map_err(CommandError::Server)?,
            is_closed: AtomicBool::new(false),
            closed: Notify::new(),
            consecutive_timeouts: AtomicU32::new(0),
        })
    }

    /// Sends a command and waits for its reply until the deadline.
    pub(crate) async fn call(
        &self,
        command: &Cmd,
        deadline: Instant,
    ) -> Result<Value, CommandError> {
        let mut socket = self.socket.clone();
        let reply = self
            .reply(socket.send_packed_command(command), deadline)
            .await?;
        reply
            .extract_error()
            .map_err(|error| self.server_error(error))
    }

    /// Sends commands in one pipeline, and returns the reply to each.
    pub(crate) async fn call_all(
        &self,
        commands: &Pipeline,
        deadline: Instant,
    ) -> Vec<Result<Value, CommandError>> {
        let count = commands.len();
        if count == 0 {
            return Vec::new();
        }
        let mut socket = self.socket.clone();
        let sending = socket.send_packed_commands(commands, 0, count);
        let extract = |value: Value| {
            value
                .extract_error()
                .map_err(|error| self.server_error(error))
        };
        match self.reply(sending, deadline).await {
            Ok(replies) => replies.into_iter().map(extract).collect(),
            Err(CommandError::CircuitOpen) => {
                (0..count).map(|_| Err(CommandError::CircuitOpen)).collect()
            }
            Err(_) => (0..count).map(|_| Err(CommandError::Timeout)).collect(),
        }
    }

    async fn reply<T>(
        &self,
        sending: impl Future<Output = RedisResult<T>>,
        deadline: Instant,
    ) -> Result<T, CommandError> {
        if self.is_closed() {
            return Err(CommandError::CircuitOpen);
        }
        match timeout_at(deadline, sending).await {
            Ok(Ok(reply)) => {
                self.consecutive_timeouts.store(0, Ordering::Relaxed);
                Ok(reply)
            }
            Ok(Err(error)) => {
                self.close(&error.to_string());
                Err(CommandError::Timeout)
            }
            Err(_) => {
                let before = self.consecutive_timeouts.fetch_add(1, Ordering::Relaxed);
                if before + 1 >= MAX_CONSECUTIVE_TIMEOUTS {
                    self.close("consecutive timeouts");
                }
                Err(CommandError::Timeout)
            }
        }
    }

    /// An error reply concerns its command only, unless it describes the state of the server:
    /// then every command would get it.
    fn server_error(&self, error: RedisError) -> CommandError {
        use ServerErrorKind::{BusyLoading, ClusterDown, MasterDown, ReadOnly};
        if let ErrorKind::Server(BusyLoading | ClusterDown | MasterDown | ReadOnly) = error.kind() {
            self.close(&error.to_string());
        }
        CommandError::Server(error)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Waits until the connection is closed. For one waiting task only.
    pub(crate) async fn wait_closed(&self) {
        if !self.is_closed() {
            self.closed.notified().await;
        }
    }

    /// Marks the connection as unusable. Commands in flight still end by their deadlines.
    pub(crate) fn close(&self, reason: &str) {
        if !self.is_closed.swap(true, Ordering::AcqRel) {
            tracing::warn!(reason, purpose = self.purpose, "Valkey connection closed");
            self.closed.notify_one();
        }
    }
}

/// The error for a reply of another type than the command has.
pub(crate) fn unexpected_reply() -> CommandError {
    let kind = ErrorKind::UnexpectedReturnType;
    CommandError::Server((kind, "unexpected type of reply").into())
}
