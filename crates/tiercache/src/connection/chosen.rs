//! The connection for large values: when it is used, and how it is opened.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use redis::{AsyncConnectionConfig, RedisResult, Value, cmd};

use crate::connection::large::{Beside, LARGE};
use crate::connection::{CommandError, Connection, Replication};
use crate::protocol::marker::may_be_marker;
use crate::seams::{self, Instant, timeout, timeout_at};

/// The longest time to open the connection.
const OPEN_TIMEOUT: Duration = Duration::from_millis(500);
/// The longest time without a byte, of a server that copies a large value.
const SILENCE: Duration = Duration::from_millis(250);
/// The longest time that a reply may take while bytes move.
pub(super) const REPLY_EXTENSION: Duration = Duration::from_secs(5);

/// A connection beside the one for commands: its purpose, and how much longer replies may take.
type Purpose = (&'static str, Duration);

const LARGE_VALUES: Purpose = ("large values", REPLY_EXTENSION);
/// Writes wait for them, no longer than they may.
const FENCES: Purpose = ("fences", Duration::ZERO);

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
        let connection = self.beside(&large.beside, LARGE_VALUES, key).await?;
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

    /// The connection for fences that wait for replicas, if they do, and the number of replicas. One
    /// that is not open within `limit` is opened in the background.
    pub(crate) async fn replicating(
        self: &Arc<Self>,
        key: &str,
        limit: Duration,
    ) -> Result<Option<(Arc<Self>, u32)>, CommandError> {
        let Some(Replication { replicas, beside }) = &self.replication else {
            return Ok(None);
        };
        let open = |current: &Option<Arc<Self>>| {
            let open = current.as_ref().filter(|current| !current.is_closed());
            open.map(Arc::clone)
        };
        let current = beside.connection.try_lock();
        let is_opening = current.is_err();
        if let Some(connection) = current.ok().and_then(|current| open(&current)) {
            return Ok(Some((connection, *replicas)));
        }
        let connection = timeout(limit, async {
            if is_opening {
                return open(&*beside.connection.lock().await);
            }
            let (this, key) = (Arc::clone(self), key.to_owned());
            seams::spawn(async move { this.fencing(&key).await })
                .await
                .ok()?
        });
        let connection = connection.await.map_err(|_| CommandError::Timeout)?;
        let connection = connection.ok_or(CommandError::CircuitOpen)?;
        Ok(Some((connection, *replicas)))
    }

    /// The connection for fences that wait for replicas, which is opened if it is not open.
    async fn fencing(&self, key: &str) -> Option<Arc<Self>> {
        let beside = &self.replication.as_ref()?.beside;
        self.beside(beside, FENCES, key).await.ok()
    }

    /// Boxed, since it is rare: the futures of all reads contain this one. Without its type, so that
    /// the compiler need not look into it for each of them.
    fn beside<'a>(
        &'a self,
        beside: &'a Beside<Self>,
        purpose: Purpose,
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
        (purpose, extension): Purpose,
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
        connection.reply_extension = extension;
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
