//! The commands of the protocol. Each concerns one key and has a timeout.

use std::time::Duration;

use bytes::Bytes;
use redis::{ErrorKind, RedisError, ServerErrorKind, Value, cmd, from_redis_value};

use crate::connection::{CommandError, Connection, unexpected_reply};
use crate::local::coherence::ServerId;
use crate::protocol::marker::{Lease, Stored};
use crate::protocol::script::{FILL, GET_LEASE, REFRESH, RELEASE, Script};
use crate::seams::Instant;
use crate::seams::mutant;

/// The number of keys that one step of an iteration visits, approximately.
const SCAN_COUNT: u32 = 1_000;

/// The reply to GETLEASE.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum LeaseReply {
    /// The lease was acquired.
    Acquired,
    /// The key holds a payload or a marker.
    Occupied(Stored),
}

impl Connection {
    /// Acquires the lease of a key that holds nothing, for at most `life`, or else returns its
    /// content. `rejected` is an invalid payload that was read before. It counts as nothing, as does another type.
    pub(crate) async fn get_lease(
        &self,
        key: &str,
        (lease, life): (&Lease, Duration),
        rejected: Option<&[u8]>,
        limit: Duration,
    ) -> Result<LeaseReply, CommandError> {
        // With nothing to reject: bytes that the key cannot hold yet.
        let rejected = rejected.unwrap_or(lease.as_ref());
        let life = millis(life);
        let args = [lease.as_ref(), life.as_bytes(), rejected];
        let connection = self.choose(key, 0).await?;
        match connection.eval(&GET_LEASE, key, &args, limit).await? {
            Value::Array(reply) => match reply.into_iter().next().map(bytes).transpose()?.flatten()
            {
                None => Ok(LeaseReply::Acquired),
                Some(held) => Ok(LeaseReply::Occupied(Stored::from(Some(held)))),
            },
            _ => Err(unexpected_reply()),
        }
    }

    /// Stores a payload if the key still holds the caller's own marker: the lease of a load, or
    /// the confirmed fence of a committed write. Returns whether it did.
    pub(crate) async fn fill(
        &self,
        key: &str,
        own: impl AsRef<[u8]>,
        payload: &[u8],
        ttl: Duration,
        limit: Duration,
    ) -> Result<bool, CommandError> {
        let ttl = millis(ttl);
        mutant!(FillWithoutLease => return self.overwrite(key, payload, &ttl, limit).await);
        let args = [own.as_ref(), payload, ttl.as_bytes()];
        let connection = self.choose(key, payload.len()).await?;
        flag(connection.eval(&FILL, key, &args, limit).await?)
    }

    /// Replaces a payload if nothing was written since it was read with
    /// [`read`](Self::read). Returns whether it did.
    pub(crate) async fn refresh(
        &self,
        key: &str,
        (expiry, old): (i64, &[u8]),
        new: &[u8],
        ttl: Duration,
        limit: Duration,
    ) -> Result<bool, CommandError> {
        mutant!(RefreshUnconditionally => return self.overwrite(key, new, &millis(ttl), limit).await);
        let (expiry, ttl) = (expiry.to_string(), millis(ttl));
        let args = [expiry.as_bytes(), old, new, ttl.as_bytes()];
        let connection = self.choose(key, new.len()).await?;
        flag(connection.eval(&REFRESH, key, &args, limit).await?)
    }

    /// Deletes an unused lease.
    pub(crate) async fn release(
        &self,
        key: &str,
        lease: &Lease,
        limit: Duration,
    ) -> Result<bool, CommandError> {
        mutant!(ReleaseAnything => return self.delete(key, limit).await);
        flag(self.eval(&RELEASE, key, &[lease.as_ref()], limit).await?)
    }

    /// One step of an iteration over the keys with a prefix: the next cursor and some keys.
    /// Every key that exists during the whole iteration, from cursor 0 to cursor 0, is returned.
    pub(crate) async fn scan(
        &self,
        cursor: &[u8],
        prefix: &str,
        limit: Duration,
    ) -> Result<(Vec<u8>, Vec<String>), CommandError> {
        let mut scan = cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(glob(prefix));
        scan.arg("COUNT").arg(SCAN_COUNT);
        let reply = self.call(&scan, Instant::now() + limit).await?;
        from_redis_value(reply).map_err(|_| unexpected_reply())
    }

    /// Sends a heartbeat.
    pub(crate) async fn ping(&self, limit: Duration) -> Result<(), CommandError> {
        self.call(&cmd("PING"), Instant::now() + limit)
            .await
            .map(drop)
    }

    /// The identity of the server process.
    pub(crate) async fn server(&self, limit: Duration) -> Result<ServerId, CommandError> {
        let mut info = cmd("INFO");
        info.arg("server");
        let text = match self.call(&info, Instant::now() + limit).await {
            Ok(Value::BulkString(text)) => String::from_utf8_lossy(&text).into_owned(),
            Ok(Value::VerbatimString { text, .. }) => text,
            // An ACL may forbid it.
            Ok(_) | Err(CommandError::Server(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut lines = text.lines();
        Ok(lines.find_map(|line| line.strip_prefix("run_id:").map(str::to_owned)))
    }

    pub(super) async fn eval(
        &self,
        script: &Script,
        key: &str,
        args: &[&[u8]],
        limit: Duration,
    ) -> Result<Value, CommandError> {
        let deadline = Instant::now() + limit;
        if self.lacks().script_cache {
            return self.call(&script.eval(key, args), deadline).await;
        }
        match self.call(&script.evalsha(key, args), deadline).await {
            // Nothing was executed, so this is not a retry.
            Err(CommandError::Server(error)) if is_noscript(&error) => {
                mutant!(ScriptNotResent => return Err(CommandError::Server(error)));
                self.call(&script.eval(key, args), deadline).await
            }
            reply => reply,
        }
    }
}

/// Whole milliseconds, at least one, as the commands take them.
pub(super) fn millis(duration: Duration) -> String {
    duration.as_millis().max(1).to_string()
}

/// The pattern of the keys with a prefix.
fn glob(prefix: &str) -> String {
    let mut pattern = String::with_capacity(prefix.len() + 1);
    for character in prefix.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('*');
    pattern
}

fn is_noscript(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

pub(super) fn bytes(value: Value) -> Result<Option<Bytes>, CommandError> {
    match value {
        Value::Nil => Ok(None),
        Value::BulkString(bytes) => Ok(Some(Bytes::from(bytes))),
        _ => Err(unexpected_reply()),
    }
}

pub(super) fn flag(value: Value) -> Result<bool, CommandError> {
    match value {
        Value::Int(flag) => Ok(flag != 0),
        _ => Err(unexpected_reply()),
    }
}
