//! Reads of a key, of its expiry and of its group, in one round trip.

use std::time::Duration;

use bytes::Bytes;
use redis::{Pipeline, Value, cmd};

use crate::connection::chosen::Chosen;
use crate::connection::{CommandError, Connection, unexpected_reply};
use crate::local::group::Group;
use crate::protocol::commands::bytes;
use crate::protocol::generation::GroupState;
use crate::protocol::marker::Stored;
use crate::seams::Instant;

/// What is read of a key's expiry.
#[derive(Clone, Copy)]
pub(crate) enum Expiry {
    /// Nothing.
    None,
    /// The remaining TTL in milliseconds.
    Ttl,
    /// The time of expiry in milliseconds of Valkey's clock.
    Time,
}

/// The content of a key, its expiry, and the state of its group.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) stored: Stored,
    /// Negative if the key has no expiry or is absent; `None` if it was not read.
    pub(crate) expiry: Option<i64>,
    pub(crate) group: GroupState,
}

impl Found {
    /// The remaining TTL, if it was read and the key has one.
    pub(crate) fn ttl(&self) -> Option<Duration> {
        u64::try_from(self.expiry?).ok().map(Duration::from_millis)
    }
}

impl Expiry {
    fn command(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Ttl => Some("PTTL"),
            Self::Time => Some("PEXPIRETIME"),
        }
    }
}

impl Connection {
    /// Reads the content of a key.
    pub(crate) async fn get(&self, key: &str, limit: Duration) -> Result<Stored, CommandError> {
        let connection = self.choose(key, 0).await?;
        let deadline = Instant::now() + limit;
        let reply = match &connection {
            Chosen::Common(connection) => connection.call(cmd("GET").arg(key), deadline).await,
            Chosen::Large(connection) => {
                let mut commands = Pipeline::with_capacity(1);
                commands.cmd("GET").arg(key);
                let reading = connection.read_in_parts(key, &commands, deadline);
                let reply = Box::pin(reading).await.pop();
                reply.unwrap_or_else(|| Err(unexpected_reply()))
            }
        };
        self.learn(key, &reply);
        stored(reply)
    }

    /// Reads the state of a group whose key is not on the server of its entry.
    pub(crate) async fn get_group(
        &self,
        group: &Group,
        limit: Duration,
    ) -> Result<GroupState, CommandError> {
        let deadline = Instant::now() + limit;
        state(self.call(cmd("GET").arg(&*group.key), deadline).await)
    }

    /// Reads a key, its expiry, and the state of its group.
    pub(crate) async fn read(
        &self,
        key: &str,
        expiry: Expiry,
        group: Option<&Group>,
        limit: Duration,
    ) -> Result<Found, CommandError> {
        let expiry = expiry.command();
        if expiry.is_none() && group.is_none() {
            return Ok(Found {
                stored: self.get(key, limit).await?,
                expiry: None,
                group: GroupState::Ungrouped,
            });
        }
        let mut commands = Pipeline::with_capacity(3);
        commands.cmd("GET").arg(key);
        if let Some(command) = expiry {
            commands.cmd(command).arg(key);
        }
        if let Some(group) = group {
            commands.cmd("GET").arg(&*group.key);
        }
        let connection = self.choose(key, 0).await?;
        let deadline = Instant::now() + limit;
        let replies = match &connection {
            Chosen::Common(connection) => connection.call_all(&commands, deadline).await,
            Chosen::Large(connection) => {
                Box::pin(connection.read_in_parts(key, &commands, deadline)).await
            }
        };
        let mut replies = replies.into_iter();
        let mut next = || replies.next().unwrap_or_else(|| Err(unexpected_reply()));
        let held = next();
        self.learn(key, &held);
        Ok(Found {
            stored: stored(held)?,
            expiry: expiry.map(|_| integer(next()?)).transpose()?,
            group: match group {
                Some(_) => state(next())?,
                None => GroupState::Ungrouped,
            },
        })
    }
}

fn stored(reply: Result<Value, CommandError>) -> Result<Stored, CommandError> {
    Ok(content(reply)?.map_or(Stored::OtherType, Stored::from))
}

/// Another type holds no generation.
fn state(reply: Result<Value, CommandError>) -> Result<GroupState, CommandError> {
    Ok(GroupState::of(content(reply)?.flatten()))
}

/// The content of a string; `None` for another type.
fn content(reply: Result<Value, CommandError>) -> Result<Option<Option<Bytes>>, CommandError> {
    match reply {
        Ok(value) => Ok(Some(bytes(value)?)),
        Err(CommandError::Server(error)) if error.code() == Some("WRONGTYPE") => Ok(None),
        Err(error) => Err(error),
    }
}

fn integer(value: Value) -> Result<i64, CommandError> {
    match value {
        Value::Int(integer) => Ok(integer),
        _ => Err(unexpected_reply()),
    }
}
