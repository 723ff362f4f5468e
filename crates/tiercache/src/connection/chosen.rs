//! The connection for large values: when it is used, and how it is opened.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use redis::{AsyncConnectionConfig, RedisResult, Value, cmd};

use crate::connection::large::{Beside, LARGE};
use crate::connection::{CommandError, Connection, Replication};
use crate::protocol::marker::may_be_marker;
use crate::seams::{Instant, timeout, timeout_at};

/// The longest time to open the connection.
const OPEN_TIMEOUT: Duration = Duration::from_millis(500);
/// The longest time without a byte, of a server that copies a large value.
const SILENCE: Duration = Duration::from_millis(250);
/// The longest time that a reply may take while bytes move.
pub(super) const REPLY_EXTENSION: Duration = Duration::from_secs(5);

/// The connection for the commands of one key.
pub(crate) enum Chosen<'a> {
    /// That for commands.
    Common(&'a Connection),
    /// That for large values.
    Large(Arc<Connection>),
}

impl std::ops::Deref for Chosen<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        match self {
            Self::Common(connection) => connection,
            Self::Large(connection) => connection,
        }
    }
}

impl Connection {
    /// The connection for the commands of a key. `sent` is the size of a value that is sent.
    pub(crate) async fn choose(&self, key: &str, sent: usize) -> Result<Chosen<'_>, CommandError> {
        let Some(large) = &self.large else {
            return Ok(Chosen::Common(self));
        };
        if sent >= LARGE {
            large.keys.learn(key, true);
        }
        if !large.keys.contains(key) {
            return Ok(Chosen::Common(self));
        }
        let connection = self.beside(&large.beside, "large values", key).await?;
        Ok(Chosen::Large(connection))
    }

    /// Records the size of a value that was read. One whose reply was late while a large reply
    /// arrived is taken for large: it may be that one, and its next reply shows its size.
    pub(crate) fn learn(&self, key: &str, read: &Result<Value, CommandError>) {
        let Some(large) = &self.large else {
            return;
        };
        let is_large = match read {
            // Neither says anything of the next value.
            Ok(Value::BulkString(value)) if may_be_marker(value) => return,
            Ok(Value::Nil) => return,
            Ok(Value::BulkString(value)) => value.len() >= LARGE,
            Ok(_) => false,
            Err(CommandError::Delayed) => true,
            Err(_) => return,
        };
        large.keys.learn(key, is_large);
    }

    /// Waits for a reply beyond the deadline while bytes move.
    pub(super) async fn while_moving<T>(
        &self,
        mut sending: Pin<&mut impl Future<Output = RedisResult<T>>>,
        deadline: Instant,
    ) -> Option<RedisResult<T>> {
        let now = Instant::now();
        let last = now + self.reply_extension;
        let mut deadline = deadline.max(now + SILENCE);
        let mut moved = self.socket.moved.count();
        loop {
            if let Ok(reply) = timeout_at(deadline, &mut sending).await {
                return Some(reply);
            }
            let now = self.socket.moved.count();
            if now == moved || deadline >= last {
                return None;
            }
            moved = now;
            deadline = last.min(Instant::now() + SILENCE);
        }
    }

    /// The connection for fences that wait for replicas, if they do, and the number of replicas.
    pub(crate) async fn replicating(
        &self,
        key: &str,
    ) -> Result<Option<(Arc<Self>, u32)>, CommandError> {
        let Some(Replication { replicas, beside }) = &self.replication else {
            return Ok(None);
        };
        let connection = self.beside(beside, "fences", key).await?;
        Ok(Some((connection, *replicas)))
    }

    /// Boxed, since it is rare: the futures of all reads contain this one. Without its type, so that
    /// the compiler need not look into it for each of them.
    fn beside<'a>(
        &'a self,
        beside: &'a Beside<Self>,
        purpose: &'static str,
        prefix: &'a str,
    ) -> BoxFuture<'a, Result<Arc<Self>, CommandError>> {
        Box::pin(async move {
            let mut current = beside.connection.lock().await;
            if let Some(connection) = current.as_ref().filter(|current| !current.is_closed()) {
                return Ok(Arc::clone(connection));
            }
            let opening = timeout(OPEN_TIMEOUT, self.open_beside(beside, purpose, prefix)).await;
            let connection = Arc::new(opening.map_err(|_| CommandError::Timeout)??);
            Ok(Arc::clone(current.insert(connection)))
        })
    }

    /// Opens a connection, and proves that it leads to the same server.
    async fn open_beside(
        &self,
        beside: &Beside<Self>,
        purpose: &'static str,
        prefix: &str,
    ) -> Result<Self, CommandError> {
        let connect = async |config| beside.server.open(&config).await;
        let config = AsyncConnectionConfig::new();
        let mut connection = Self::open(purpose, config, connect).await?;
        connection.redirects.clone_from(&self.redirects);
        connection.lacks = self.lacks;
        let is_same = match &beside.id {
            Some(id) => connection.server(OPEN_TIMEOUT).await?.as_ref() == Some(id),
            None => self.has_canary_of(&connection, prefix).await?,
        };
        connection.reply_extension = REPLY_EXTENSION;
        match is_same {
            true => Ok(connection),
            false => Err(CommandError::CircuitOpen),
        }
    }

    /// Whether a key that is written on the other connection is there. (Not the other way round: the
    /// other one may lead to a replica, which lags behind.)
    async fn has_canary_of(&self, other: &Self, prefix: &str) -> Result<bool, CommandError> {
        let deadline = Instant::now() + OPEN_TIMEOUT;
        let canary = other.write_canary(prefix, deadline, |_| {}).await?;
        let found = self.call_here(cmd("GET").arg(&canary), deadline).await?;
        Ok(matches!(found, Value::BulkString(_)))
    }
}
