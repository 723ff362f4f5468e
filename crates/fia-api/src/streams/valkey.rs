//! Stream commands, each with a timeout.

use std::collections::HashMap;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, RedisError, Value, cmd};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::streams::entry::{EntryId, Frame};

/// Timeout for opening a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Timeout for a reply, in addition to the time that a command blocks.
const REPLY_TIMEOUT: Duration = Duration::from_secs(2);
/// Time without a further attempt to connect after a failed one.
const RECONNECT_BACKOFF: Duration = Duration::from_secs(1);
/// Maximum time that the reader's command blocks: also the maximum delay until the log of a first
/// viewer is followed.
const BLOCK: Duration = Duration::from_millis(200);
/// Maximum number of entries per stream in a reply.
pub(super) const PAGE: usize = 100;

/// A command failed.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum CommandError {
    /// Valkey cannot be reached, or did not reply in time.
    #[error("Valkey unavailable: {0}")]
    Unavailable(String),
    /// Valkey rejected the command.
    #[error("Valkey rejected the command: {0}")]
    Rejected(String),
}

/// A connection to Valkey, opened on demand and reopened after a failure.
pub(super) struct Valkey {
    client: Client,
    state: Mutex<ConnectionState>,
}

#[derive(Default)]
struct ConnectionState {
    connection: Option<MultiplexedConnection>,
    failed_at: Option<Instant>,
}

impl Valkey {
    pub(super) fn new(url: &str) -> Result<Self, RedisError> {
        Ok(Self {
            client: Client::open(url)?,
            state: Mutex::default(),
        })
    }

    /// Returns the id of a stream's last entry; zero if there is none.
    pub(super) async fn last(&self, key: &str) -> Result<EntryId, CommandError> {
        let mut command = cmd("XREVRANGE");
        command.arg(key).arg("+").arg("-").arg("COUNT").arg(1);
        let entries = frames(self.call(&command, REPLY_TIMEOUT).await?)?;
        Ok(entries.first().map_or(EntryId::ZERO, |frame| frame.id))
    }

    /// Reads the next entries after one: [`PAGE`] of them, fewer at the end of the stream.
    pub(super) async fn page(&self, key: &str, after: EntryId) -> Result<Vec<Frame>, CommandError> {
        let mut command = cmd("XRANGE");
        command.arg(key).arg(format!("({after}")).arg("+");
        command.arg("COUNT").arg(PAGE);
        frames(self.call(&command, REPLY_TIMEOUT).await?)
    }

    /// Waits for entries of several streams, each after an id. Returns them by key.
    pub(super) async fn follow(
        &self,
        streams: &[(&str, EntryId)],
    ) -> Result<HashMap<String, Vec<Frame>>, CommandError> {
        let mut command = cmd("XREAD");
        command.arg("COUNT").arg(PAGE);
        command.arg("BLOCK").arg(BLOCK.as_millis() as u64);
        command.arg("STREAMS");
        for (key, _) in streams {
            command.arg(key);
        }
        for (_, after) in streams {
            command.arg(after.to_string());
        }
        match self.call(&command, BLOCK + REPLY_TIMEOUT).await? {
            Value::Nil => Ok(HashMap::new()),
            reply => pairs(reply)?
                .into_iter()
                .map(|(key, entries)| Ok((text(key)?, frames(entries)?)))
                .collect(),
        }
    }

    async fn call(&self, command: &Cmd, limit: Duration) -> Result<Value, CommandError> {
        let mut connection = self.connection().await?;
        let sent = timeout(limit, connection.send_packed_command(command)).await;
        let error = match sent {
            Ok(Ok(reply)) => {
                return reply
                    .extract_error()
                    .map_err(|error| CommandError::Rejected(error.to_string()));
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "reply timeout".to_owned(),
        };
        // A late reply must not reach another command.
        self.state.lock().await.connection = None;
        Err(CommandError::Unavailable(error))
    }

    /// Returns the connection or opens one. Concurrent callers wait for one attempt and share its
    /// failure.
    async fn connection(&self) -> Result<MultiplexedConnection, CommandError> {
        let mut state = self.state.lock().await;
        if let Some(connection) = &state.connection {
            return Ok(connection.clone());
        }
        if state
            .failed_at
            .is_some_and(|at| at.elapsed() < RECONNECT_BACKOFF)
        {
            return Err(CommandError::Unavailable("waiting to reconnect".to_owned()));
        }
        // The client's own timeouts do not cover all of its waits; `timeout` below does.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let connecting = self
            .client
            .get_multiplexed_async_connection_with_config(&config);
        let connected = match timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(connected) => connected.map_err(|error| error.to_string()),
            Err(_) => Err("connection timeout".to_owned()),
        };
        state.failed_at = connected.is_err().then(Instant::now);
        state.connection = connected.clone().ok();
        connected.map_err(CommandError::Unavailable)
    }
}

/// Parses the entries in a reply: each an id and a list of names and values.
fn frames(reply: Value) -> Result<Vec<Frame>, CommandError> {
    let entries = pairs(reply)?.into_iter();
    let frame = |(id, fields)| {
        let id = EntryId::parse(&text(id)?).ok_or_else(unexpected)?;
        let fields: Vec<String> = list(fields)?
            .into_iter()
            .map(text)
            .collect::<Result<_, _>>()?;
        let fields = fields.chunks_exact(2);
        Ok(Frame::new(
            id,
            fields.map(|pair| (pair[0].clone(), pair[1].clone())),
        ))
    };
    entries.map(frame).collect()
}

fn pairs(reply: Value) -> Result<Vec<(Value, Value)>, CommandError> {
    let pair = |item| match <[Value; 2]>::try_from(list(item)?) {
        Ok([first, second]) => Ok((first, second)),
        Err(_) => Err(unexpected()),
    };
    list(reply)?.into_iter().map(pair).collect()
}

fn list(value: Value) -> Result<Vec<Value>, CommandError> {
    match value {
        Value::Array(items) => Ok(items),
        _ => Err(unexpected()),
    }
}

/// Converts a string; invalid UTF-8 becomes U+FFFD.
fn text(value: Value) -> Result<String, CommandError> {
    match value {
        Value::BulkString(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Value::SimpleString(text) => Ok(text),
        _ => Err(unexpected()),
    }
}

fn unexpected() -> CommandError {
    CommandError::Rejected("unexpected form of a reply".to_owned())
}
