//! The commands of the protocol, typed, each of one key and each within a time limit.

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use redis::{Cmd, ErrorKind, Pipeline, RedisError, ServerErrorKind, Value, cmd};
use tokio::time::Instant;

use crate::coherence::ServerId;
use crate::marker::{FenceToken, Lease, Stored};
use crate::session::{Session, Trouble, unexpected};

/// How long a lease lasts if its holder dies. A load that takes longer fills nothing.
pub(crate) const LEASE_LIFE: Duration = Duration::from_secs(5);
/// How long a fence lasts if its writer dies. A commit must not take longer.
pub(crate) const FENCE_LIFE: Duration = Duration::from_secs(10);

static GET_LEASE: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("lua/get_lease.lua")));
static FILL: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/fill.lua")));
static RELEASE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/release.lua")));
static FIN: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/fin.lua")));
static REFRESH: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/refresh.lua")));

/// What a key holds, and for how long.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Lasting<T> {
    pub(crate) stored: Stored,
    pub(crate) until: T,
}

/// The answer to GETLEASE.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// The lease is ours.
    Won,
    /// Something else was there: a payload or a marker.
    Held(Stored),
}

impl Session {
    /// What a key holds.
    pub(crate) async fn get(&self, key: &str, limit: Duration) -> Result<Stored, Trouble> {
        let reply = self.call(cmd("GET").arg(key), Instant::now() + limit).await;
        match reply {
            Ok(value) => Ok(Stored::from(bytes(value)?)),
            Err(Trouble::Refused(error)) if error.code() == Some("WRONGTYPE") => {
                Ok(Stored::OtherType)
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// What a key holds, and how long it will: `None` where that has no end, or has come.
    pub(crate) async fn get_with_life(
        &self,
        key: &str,
        limit: Duration,
    ) -> Result<Lasting<Option<Duration>>, Trouble> {
        let Lasting { stored, until } = self.get_with("PTTL", key, limit).await?;
        let left = u64::try_from(until).ok().map(Duration::from_millis);
        Ok(Lasting {
            stored,
            until: left,
        })
    }

    /// What a key holds, and when its life ends, in milliseconds of Valkey's clock.
    pub(crate) async fn get_with_end(
        &self,
        key: &str,
        limit: Duration,
    ) -> Result<Lasting<i64>, Trouble> {
        self.get_with("PEXPIRETIME", key, limit).await
    }

    async fn get_with(
        &self,
        what: &str,
        key: &str,
        limit: Duration,
    ) -> Result<Lasting<i64>, Trouble> {
        let mut commands = Pipeline::with_capacity(2);
        commands.cmd("GET").arg(key).cmd(what).arg(key);
        match self.call_two(&commands, Instant::now() + limit).await {
            Ok([held, Value::Int(until)]) => Ok(Lasting {
                stored: Stored::from(bytes(held)?),
                until,
            }),
            Ok(_) => Err(unexpected()),
            Err(Trouble::Refused(error)) if error.code() == Some("WRONGTYPE") => Ok(Lasting {
                stored: Stored::OtherType,
                until: -1,
            }),
            Err(trouble) => Err(trouble),
        }
    }

    /// Takes the lease of a key that holds nothing, or else says what it holds. `rejected` are
    /// bytes that were found there and could not be used; they count as nothing, and so does
    /// anything of another type.
    pub(crate) async fn get_lease(
        &self,
        key: &str,
        lease: &Lease,
        rejected: Option<&[u8]>,
        limit: Duration,
    ) -> Result<Claim, Trouble> {
        // With nothing to reject: a nonce that is in no store yet.
        let rejected = rejected.unwrap_or(lease.as_bytes());
        let life = LEASE_LIFE.as_millis().to_string();
        let args = [lease.as_bytes(), life.as_bytes(), rejected];
        match self.eval(&GET_LEASE, key, &args, limit).await? {
            Value::Array(reply) => match reply.into_iter().next().map(bytes).transpose()?.flatten()
            {
                None => Ok(Claim::Won),
                Some(held) => Ok(Claim::Held(Stored::from(Some(held)))),
            },
            _ => Err(unexpected()),
        }
    }

    /// Stores a payload if the lease still stands. Says whether it did.
    pub(crate) async fn fill(
        &self,
        key: &str,
        lease: &Lease,
        payload: &[u8],
        ttl: Duration,
        limit: Duration,
    ) -> Result<bool, Trouble> {
        let ttl = ttl.as_secs().max(1).to_string();
        let args = [lease.as_bytes(), payload, ttl.as_bytes()];
        yes(self.eval(&FILL, key, &args, limit).await?)
    }

    /// Replaces a payload by a newer one, if nothing else has been written since it was read
    /// with [`get_with_end`](Self::get_with_end). Says whether it did.
    pub(crate) async fn refresh(
        &self,
        key: &str,
        (end, old): (i64, &[u8]),
        new: &[u8],
        ttl: Duration,
        limit: Duration,
    ) -> Result<bool, Trouble> {
        let (end, ttl) = (end.to_string(), ttl.as_secs().max(1).to_string());
        let args = [end.as_bytes(), old, new, ttl.as_bytes()];
        yes(self.eval(&REFRESH, key, &args, limit).await?)
    }

    /// Gives a lease back unused.
    pub(crate) async fn release(
        &self,
        key: &str,
        lease: &Lease,
        limit: Duration,
    ) -> Result<bool, Trouble> {
        yes(self.eval(&RELEASE, key, &[lease.as_bytes()], limit).await?)
    }

    /// Puts up a fence, whatever the key holds.
    pub(crate) async fn raise(
        &self,
        key: &str,
        fence: &FenceToken,
        limit: Duration,
    ) -> Result<(), Trouble> {
        let mut set = cmd("SET");
        set.arg(key)
            .arg(fence.as_bytes())
            .arg("PX")
            .arg(FENCE_LIFE.as_millis() as u64);
        match self.call(&set, Instant::now() + limit).await? {
            Value::Okay => Ok(()),
            _ => Err(unexpected()),
        }
    }

    /// Ends a write: invalidates the key unless another writer's fence stands. `own` is the
    /// caller's fence **only if its raising was acknowledged**: one that was not may have
    /// replaced, or may yet replace, the fence of another writer.
    pub(crate) async fn fin(
        &self,
        key: &str,
        own: Option<&FenceToken>,
        limit: Duration,
    ) -> Result<bool, Trouble> {
        let own = own.map_or(&b""[..], FenceToken::as_bytes);
        yes(self.eval(&FIN, key, &[own], limit).await?)
    }

    /// Asks for a sign of life.
    pub(crate) async fn ping(&self, limit: Duration) -> Result<(), Trouble> {
        self.call(&cmd("PING"), Instant::now() + limit)
            .await
            .map(drop)
    }

    /// Which run of which server this is.
    pub(crate) async fn server(&self, limit: Duration) -> Result<ServerId, Trouble> {
        let mut info = cmd("INFO");
        info.arg("server");
        let text = match self.call(&info, Instant::now() + limit).await {
            Ok(Value::BulkString(text)) => String::from_utf8_lossy(&text).into_owned(),
            Ok(Value::VerbatimString { text, .. }) => text,
            // It may be forbidden.
            Ok(_) | Err(Trouble::Refused(_)) => return Ok(None),
            Err(trouble) => return Err(trouble),
        };
        let mut lines = text.lines();
        Ok(lines.find_map(|line| line.strip_prefix("run_id:").map(str::to_owned)))
    }

    async fn eval(
        &self,
        script: &Script,
        key: &str,
        args: &[&[u8]],
        limit: Duration,
    ) -> Result<Value, Trouble> {
        let deadline = Instant::now() + limit;
        match self
            .call(
                &script.invocation("EVALSHA", &script.sha, key, args),
                deadline,
            )
            .await
        {
            // A script that is not there was not run, so this is no repetition.
            Err(Trouble::Refused(error)) if is_noscript(&error) => {
                self.call(
                    &script.invocation("EVAL", script.source, key, args),
                    deadline,
                )
                .await
            }
            reply => reply,
        }
    }
}

struct Script {
    source: &'static str,
    sha: String,
}

impl Script {
    fn new(source: &'static str) -> Self {
        Self {
            source,
            sha: redis::Script::new(source).get_hash().to_owned(),
        }
    }

    fn invocation(&self, command: &str, script: &str, key: &str, args: &[&[u8]]) -> Cmd {
        let mut invocation = cmd(command);
        invocation.arg(script).arg(1).arg(key);
        for arg in args {
            invocation.arg(*arg);
        }
        invocation
    }
}

fn is_noscript(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

fn bytes(value: Value) -> Result<Option<Bytes>, Trouble> {
    match value {
        Value::Nil => Ok(None),
        Value::BulkString(bytes) => Ok(Some(Bytes::from(bytes))),
        _ => Err(unexpected()),
    }
}

fn yes(value: Value) -> Result<bool, Trouble> {
    match value {
        Value::Int(answer) => Ok(answer != 0),
        _ => Err(unexpected()),
    }
}
