//! The canary: a key that is written on the command connection, whose change must be pushed on the
//! tracking connection. It proves that both lead to the same server, which cannot be determined
//! otherwise if the servers do not disclose their identity: a load balancer may lead them to
//! different ones.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::cmd;
use tokio::sync::Notify;

use crate::connection::{CommandError, Connection};
use crate::protocol::marker::TOMBSTONE;
use crate::seams::random;
use crate::seams::{Instant, timeout};
use crate::sync::{Mutex, lock};

/// What the name of a canary begins with, after the prefix of a namespace.
const NAME: &str = "tiercache-canary:";
/// The life of the key in milliseconds. It holds a tombstone: to every reader it is a miss.
const LIFE: u32 = 1_000;
/// The most keys that are tried until one belongs to the node of a cluster.
const MAX_ATTEMPTS: usize = 100;

/// Awaits the push of one key.
#[derive(Default)]
pub(super) struct Canary {
    key: Mutex<Option<String>>,
    /// Whether there is a key, to be read without the lock at every push.
    is_awaited: AtomicBool,
    arrived: Notify,
}

impl Connection {
    /// Writes a new key under a prefix, on this server and no other node of a cluster. It is passed to
    /// `announce` before.
    pub(super) async fn write_canary(
        &self,
        prefix: &str,
        deadline: Instant,
        announce: impl Fn(&str),
    ) -> Result<String, CommandError> {
        let mut attempts = 0;
        loop {
            let key = format!("{prefix}{NAME}{:032x}", random::<u128>());
            announce(&key);
            let mut set = cmd("SET");
            set.arg(&key).arg(TOMBSTONE).arg("PX").arg(LIFE);
            attempts += 1;
            match self.call_here(&set, deadline).await {
                Ok(_) => return Ok(key),
                // The key belongs to another node.
                Err(CommandError::Server(error))
                    if error.redirect_node().is_some() && attempts < MAX_ATTEMPTS => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Canary {
    /// Writes a key on the connection for commands. Whether its change is pushed within the limit.
    pub(super) async fn is_pushed(
        &self,
        prefix: &str,
        commands: &Connection,
        limit: Duration,
    ) -> Result<bool, CommandError> {
        self.is_awaited.store(true, Ordering::Release);
        let announce = |key: &str| *lock(&self.key) = Some(key.to_owned());
        let arrived = self.arrived.notified();
        let deadline = Instant::now() + limit;
        let written = commands.write_canary(prefix, deadline, announce).await;
        let is_pushed = written.is_ok() && timeout(limit, arrived).await.is_ok();
        self.is_awaited.store(false, Ordering::Release);
        written.map(|_| is_pushed)
    }

    /// Compares the key of a push.
    pub(super) fn pushed(&self, key: &[u8]) {
        if !self.is_awaited.load(Ordering::Acquire) {
            return;
        }
        let mut awaited = lock(&self.key);
        if awaited
            .as_ref()
            .is_some_and(|awaited| awaited.as_bytes() == key)
        {
            *awaited = None;
            self.arrived.notify_one();
        }
    }
}
