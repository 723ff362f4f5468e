//! A connection to Valkey: commands with a deadline each, and when to close it.
//!
//! * [`breaker`]: the circuit breaker, which holds the connection for commands;
//! * [`canary`]: the proof that two connections lead to the same server;
//! * [`lacks`] and [`probe`]: what a server lacks of the commands that are used;
//! * [`large`] and [`chosen`]: a connection of their own for large values, which are read in [`parts`];
//! * [`redirect`]: follows the redirections of a cluster;
//! * [`reconnect`]: the loop that keeps it alive or replaces it;
//! * [`pushes`]: what the server pushes on the tracking connection;
//! * [`timeouts`]: when they mean that the connection is lost;
//! * [`tracker`]: the dedicated connection for client tracking.

pub(crate) mod backoff;
pub(crate) mod breaker;
mod canary;
pub(crate) mod chosen;
pub(crate) mod lacks;
pub(crate) mod large;
mod parts;
mod probe;
mod pushes;
pub(crate) mod reconnect;
mod redirect;
mod timeouts;
pub(crate) mod tracker;

use std::fmt;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, Pipeline, RedisError, RedisResult, ServerErrorKind,
    Value,
};
use tokio::sync::Notify;

use crate::connection::lacks::Lacks;
use crate::connection::large::{Beside, LARGE, Large};
use crate::seams::mutant;
use crate::seams::{Instant, timeout_at};
use crate::server::Socket;

/// The reason why a command has no reply.
#[derive(Debug)]
pub(crate) enum CommandError {
    /// The circuit breaker is open: nothing was sent.
    CircuitOpen,
    /// No reply in time, or the connection failed. The command may have been executed, or may
    /// yet be.
    Timeout,
    /// As [`Timeout`](Self::Timeout), while a large reply was arriving.
    Delayed,
    /// The server replied with an error, or the connection could not be established.
    Server(RedisError),
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CircuitOpen => f.write_str("not connected"),
            Self::Timeout => f.write_str("no reply in time"),
            Self::Delayed => f.write_str("no reply in time, behind a large one"),
            Self::Server(error) => error.fmt(f),
        }
    }
}

/// A connection, from its establishment to its first failure.
pub(crate) struct Connection {
    /// Its use, for the log.
    purpose: &'static str,
    socket: Socket,
    is_closed: AtomicBool,
    closed: Notify,
    consecutive_timeouts: AtomicU32,
    lacks: Lacks,
    /// The connection for large values, if this is one for commands.
    large: Option<Large<Self>>,
    /// What fences wait for, if they do.
    replication: Option<Replication>,
    /// Where the keys of a cluster are, if the server is a node of one.
    redirects: Option<Arc<dyn Redirects>>,
    /// The longest time that a reply may take while bytes move.
    reply_extension: Duration,
    turn: parts::Turn,
    last_timeout: timeouts::LastTimeout,
}

/// The replicas that must have a fence. The wait has a connection of its own: nothing that follows
/// on it is executed meanwhile.
struct Replication {
    replicas: u32,
    beside: Beside<Connection>,
}

/// Where the keys of a cluster are.
pub(crate) trait Redirects: Send + Sync {
    /// The connection for commands to the node at an address (`host:port`), which a node has named
    /// as the one that has a slot; `None` while there is none. `is_moved` unless only a key of the
    /// slot is there.
    fn follow(&self, address: &str, slot: u16, is_moved: bool) -> Option<Arc<Connection>>;
}

impl Connection {
    /// Establishes a connection. It has no timeout of its own: callers apply theirs, since the
    /// client's do not cover all of its waits.
    pub(crate) async fn open(
        purpose: &'static str,
        config: AsyncConnectionConfig,
        connect: impl AsyncFnOnce(AsyncConnectionConfig) -> RedisResult<Socket>,
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
            lacks: Lacks::default(),
            large: None,
            replication: None,
            redirects: None,
            reply_extension: Duration::ZERO,
            turn: parts::Turn::default(),
            last_timeout: timeouts::LastTimeout::default(),
        })
    }

    /// What the server lacks, as found when the connection was established.
    pub(crate) fn lacks(&self) -> Lacks {
        self.lacks
    }

    /// Sends a command and waits for its reply until the deadline.
    pub(crate) async fn call(
        &self,
        command: &Cmd,
        deadline: Instant,
    ) -> Result<Value, CommandError> {
        let mut socket = self.socket.connection.clone();
        let sending = pin!(socket.send_packed_command(command));
        let reply = self.reply(sending, deadline).await?;
        match reply.extract_error() {
            Ok(reply) => Ok(reply),
            Err(error) if self.is_redirected(&error) => {
                Box::pin(self.follow(command, error, deadline)).await
            }
            Err(error) => Err(self.server_error(error)),
        }
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
        let mut socket = self.socket.connection.clone();
        let sending = pin!(socket.send_packed_commands(commands, 0, count));
        match self.reply(sending, deadline).await {
            Ok(replies) => self.results(commands, replies, deadline).await,
            Err(CommandError::CircuitOpen) => {
                (0..count).map(|_| Err(CommandError::CircuitOpen)).collect()
            }
            Err(CommandError::Delayed) => (0..count).map(|_| Err(CommandError::Delayed)).collect(),
            Err(_) => (0..count).map(|_| Err(CommandError::Timeout)).collect(),
        }
    }

    /// `sending` is pinned by its callers: a future of over a kilobyte, which would be moved from
    /// one to the next otherwise.
    async fn reply<T>(
        &self,
        sending: Pin<&mut impl Future<Output = RedisResult<T>>>,
        deadline: Instant,
    ) -> Result<T, CommandError> {
        if self.is_closed() {
            mutant!(ClosedConnectionWaits => std::future::pending::<()>().await);
            return Err(CommandError::CircuitOpen);
        }
        let moved = self.socket.moved.count();
        let replied = match self.reply_extension {
            Duration::ZERO => timeout_at(deadline, sending).await.ok(),
            _ => Box::pin(self.while_moving(sending, deadline)).await,
        };
        match replied {
            Some(Ok(reply)) => {
                self.consecutive_timeouts.store(0, Ordering::Relaxed);
                Ok(reply)
            }
            Some(Err(error)) => {
                self.close(&error.to_string());
                Err(CommandError::Timeout)
            }
            // Behind a large reply that is arriving: the server is alive.
            None if self.socket.moved.count() - moved >= LARGE as u64 => Err(CommandError::Delayed),
            None => {
                self.timed_out();
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
