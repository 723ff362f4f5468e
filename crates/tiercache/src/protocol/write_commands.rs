//! The commands of a write: fences before COMMIT, invalidations after it.

use std::time::Duration;

use redis::{Cmd, Pipeline, Value, cmd};

use crate::connection::{CommandError, Connection, unexpected_reply};
use crate::protocol::commands::{flag, millis};
use crate::protocol::marker::{FenceToken, TOMBSTONE};
use crate::protocol::script::INVALIDATE;
use crate::seams::Instant;
use crate::seams::mutant;

/// The longest wait for replicas, in milliseconds.
const WAIT_MILLIS: u32 = 50;
/// The life of a tombstone in milliseconds, as in the script.
const TOMBSTONE_LIFE: u32 = 1_000;

impl Connection {
    /// Replaces the content of each key by its fence, for at most `life`, in one round trip.
    pub(crate) async fn raise<'a>(
        &self,
        fences: impl Iterator<Item = (&'a str, &'a FenceToken)>,
        life: Duration,
        limit: Duration,
    ) -> Vec<Result<(), CommandError>> {
        mutant!(FenceNotRaised => return fences.map(|_| Ok(())).collect());
        let life = millis(life);
        let mut commands = Pipeline::new();
        for (key, fence) in fences {
            let set = commands.cmd("SET").arg(key).arg(fence.as_ref());
            set.arg("PX").arg(&life);
        }
        let replies = self.call_all(&commands, Instant::now() + limit).await;
        let confirmed = |reply| match reply {
            Ok(Value::Okay) => Ok(()),
            Ok(_) => Err(unexpected_reply()),
            Err(error) => Err(error),
        };
        replies.into_iter().map(confirmed).collect()
    }

    /// Waits until this many replicas have what was sent on this connection before. Returns
    /// whether they have.
    pub(crate) async fn wait(&self, replicas: u32, limit: Duration) -> Result<bool, CommandError> {
        let mut wait = cmd("WAIT");
        wait.arg(replicas).arg(WAIT_MILLIS);
        match self.call(&wait, Instant::now() + limit).await? {
            Value::Int(reached) => Ok(reached >= i64::from(replicas)),
            _ => Err(unexpected_reply()),
        }
    }

    /// Ends a write: invalidates the key unless it holds another writer's fence. `own` is the
    /// caller's fence **only if it was confirmed**: an unconfirmed one may have replaced, or may
    /// yet replace, the fence of another writer.
    ///
    /// On a server without scripts it replaces any content.
    pub(crate) async fn invalidate(
        &self,
        key: &str,
        own: Option<&FenceToken>,
        limit: Duration,
    ) -> Result<bool, CommandError> {
        if self.lacks().scripts {
            let reply = self.call(&tombstone(key), Instant::now() + limit).await;
            return reply.map(|_| true);
        }
        mutant!(InvalidateNotSent => return Ok(true));
        mutant!(InvalidateForeignFence => return self.overwrite(key, TOMBSTONE, "1000", limit).await);
        let own = own.map_or(&b""[..], AsRef::as_ref);
        flag(self.eval(&INVALIDATE, key, &[own], limit).await?)
    }

    /// As [`invalidate`](Self::invalidate), for many keys in one round trip.
    pub(crate) async fn invalidate_all<'a>(
        &self,
        keys: impl Iterator<Item = (&'a str, Option<&'a FenceToken>)>,
        limit: Duration,
    ) -> Vec<Result<bool, CommandError>> {
        let mut commands = Pipeline::new();
        let has_scripts = !self.lacks().scripts;
        for (key, own) in keys {
            let own = own.map_or(&b""[..], FenceToken::as_ref);
            commands.add_command(match has_scripts {
                true => INVALIDATE.eval(key, &[own]),
                false => tombstone(key),
            });
        }
        let replies = self.call_all(&commands, Instant::now() + limit).await;
        let is_executed = |reply| match has_scripts {
            true => flag(reply),
            false => Ok(true),
        };
        replies
            .into_iter()
            .map(|reply| is_executed(reply?))
            .collect()
    }
}

/// Invalidates a key, whatever it holds.
fn tombstone(key: &str) -> Cmd {
    let mut set = cmd("SET");
    set.arg(key).arg(TOMBSTONE).arg("PX").arg(TOMBSTONE_LIFE);
    set
}
