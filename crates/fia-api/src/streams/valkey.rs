//! The commands about streams, each with a limit of time.

use std::collections::HashMap;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, RedisError, Value, cmd};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::streams::entry::{EntryId, Frame};

const CONNECT: Duration = Duration::from_secs(1);
/// How long a reply may take, the time that a command blocks by design not counted.
const ANSWER: Duration = Duration::from_secs(2);
/// How long nobody tries to connect after an attempt that failed.
const BACK_OFF: Duration = Duration::from_secs(1);
/// How long the reader waits for news before it looks what is to be followed. A log that
/// somebody begins to look at is followed that much later at most.
const BLOCK: Duration = Duration::from_millis(200);
/// The most entries of one stream in a reply.
pub(super) const PAGE: usize = 100;

/// Why there is no reply.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Trouble {
    /// Valkey cannot be reached, or does not answer.
    #[error("Valkey is away: {0}")]
    Away(String),
    /// Valkey refuses the command.
    #[error("Valkey refuses: {0}")]
    Refused(String),
}

/// One connection to Valkey, made when it is wanted and made anew when it broke.
pub(super) struct Valkey {
    client: Client,
    link: Mutex<Link>,
}

#[derive(Default)]
struct Link {
    connection: Option<MultiplexedConnection>,
    failed: Option<Instant>,
}

impl Valkey {
    pub(super) fn new(url: &str) -> Result<Self, RedisError> {
        Ok(Self {
            client: Client::open(url)?,
            link: Mutex::default(),
        })
    }

    /// The id of a stream's last entry; zero where there is none.
    pub(super) async fn last(&self, key: &str) -> Result<EntryId, Trouble> {
        let mut command = cmd("XREVRANGE");
        command.arg(key).arg("+").arg("-").arg("COUNT").arg(1);
        let entries = frames(self.call(&command, ANSWER).await?)?;
        Ok(entries.first().map_or(EntryId::ZERO, |frame| frame.id))
    }

    /// The next entries after one: [`PAGE`] of them, fewer at the end of the stream.
    pub(super) async fn page(&self, key: &str, after: EntryId) -> Result<Vec<Frame>, Trouble> {
        let mut command = cmd("XRANGE");
        command.arg(key).arg(format!("({after}")).arg("+");
        command.arg("COUNT").arg(PAGE);
        frames(self.call(&command, ANSWER).await?)
    }

    /// Waits for entries of several streams, each after one. Returns what there is by key.
    pub(super) async fn follow(
        &self,
        streams: &[(&str, EntryId)],
    ) -> Result<HashMap<String, Vec<Frame>>, Trouble> {
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
        match self.call(&command, BLOCK + ANSWER).await? {
            Value::Nil => Ok(HashMap::new()),
            reply => pairs(reply)?
                .into_iter()
                .map(|(key, entries)| Ok((text(key)?, frames(entries)?)))
                .collect(),
        }
    }

    async fn call(&self, command: &Cmd, limit: Duration) -> Result<Value, Trouble> {
        let mut connection = self.connection().await?;
        let sent = timeout(limit, connection.send_packed_command(command)).await;
        let away = match sent {
            Ok(Ok(reply)) => {
                return reply
                    .extract_error()
                    .map_err(|error| Trouble::Refused(error.to_string()));
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        // What comes late on it is for nobody.
        self.link.lock().await.connection = None;
        Err(Trouble::Away(away))
    }

    /// Everybody waits for the one who connects, and nobody tries again at once.
    async fn connection(&self) -> Result<MultiplexedConnection, Trouble> {
        let mut link = self.link.lock().await;
        if let Some(connection) = &link.connection {
            return Ok(connection.clone());
        }
        if link
            .failed
            .is_some_and(|failed| failed.elapsed() < BACK_OFF)
        {
            return Err(Trouble::Away("it was away a moment ago".to_owned()));
        }
        // The client's own limits do not cover all of its waits, so they are off.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let connecting = self
            .client
            .get_multiplexed_async_connection_with_config(&config);
        let connected = match timeout(CONNECT, connecting).await {
            Ok(connected) => connected.map_err(|error| error.to_string()),
            Err(_) => Err("no connection in time".to_owned()),
        };
        link.failed = connected.is_err().then(Instant::now);
        link.connection = connected.clone().ok();
        connected.map_err(Trouble::Away)
    }
}

/// The entries in a reply: each an id and a list of names and values.
fn frames(reply: Value) -> Result<Vec<Frame>, Trouble> {
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

fn pairs(reply: Value) -> Result<Vec<(Value, Value)>, Trouble> {
    let pair = |item| match <[Value; 2]>::try_from(list(item)?) {
        Ok([first, second]) => Ok((first, second)),
        Err(_) => Err(unexpected()),
    };
    list(reply)?.into_iter().map(pair).collect()
}

fn list(value: Value) -> Result<Vec<Value>, Trouble> {
    match value {
        Value::Array(items) => Ok(items),
        _ => Err(unexpected()),
    }
}

/// Undecodable UTF-8 becomes U+FFFD.
fn text(value: Value) -> Result<String, Trouble> {
    match value {
        Value::BulkString(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Value::SimpleString(text) => Ok(text),
        _ => Err(unexpected()),
    }
}

fn unexpected() -> Trouble {
    Trouble::Refused("a reply of another form".to_owned())
}
