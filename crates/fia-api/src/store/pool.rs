//! Connections of the pool: the wait for one, and its end.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use crate::store::connection::Connection;
use crate::store::manager::Pooled;
use crate::store::{Db, StoreError};

/// Maximum wait for a free connection of the pool.
pub(super) const POOL_WAIT: Duration = Duration::from_millis(500);
/// The pauses between attempts to open a connection while the server has none to spare.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// State of the connection pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// Maximum number of connections.
    pub max: usize,
    /// Connections in use.
    pub in_use: usize,
    /// Open connections that are free.
    pub idle: usize,
    /// Requests waiting for a connection.
    pub waiting: usize,
}

impl Db {
    /// The state of the connection pool.
    #[must_use]
    pub fn connections(&self) -> Connections {
        let status = self.pool.status();
        Connections {
            max: status.max_size,
            in_use: status.size.saturating_sub(status.available),
            idle: status.available,
            waiting: status.waiting,
        }
    }

    /// Takes a connection from the pool. While the server has none to spare, waits as for a full
    /// pool.
    pub(super) async fn connection(&self) -> Result<Connection, StoreError> {
        let usage = self.load.admit()?;
        let taking = self.metrics.observe_pool(self.take_connection());
        Ok(Connection::new(taking.await?, Some(usage.taken())))
    }

    /// A connection for a lookup: one that others use, or else one of the pool.
    pub(super) async fn connection_of_lookup(&self) -> Result<Connection, StoreError> {
        if let Some(joined) = self.shared.join() {
            return Ok(Connection::shared(joined, None));
        }
        let usage = self.load.admit()?;
        let taken = self.metrics.observe_pool(self.take_connection()).await?;
        let usage = Some(usage.taken());
        Ok(match self.shared.share(taken) {
            Ok(shared) => Connection::shared(shared, usage),
            Err(own) => Connection::new(own, usage),
        })
    }

    async fn take_connection(&self) -> Result<Pooled, StoreError> {
        let deadline = Instant::now() + POOL_WAIT;
        match self.pool.get().await.map_err(StoreError::from) {
            Err(StoreError::Saturated(_)) => self.wait_for_connection(deadline).await,
            taken => taken,
        }
    }

    /// Waits until a connection of the pool is free or the server accepts another one. One request
    /// tries at a time: each attempt costs the server a process.
    async fn wait_for_connection(&self, deadline: Instant) -> Result<Pooled, StoreError> {
        let waiting = async {
            let _retrying = self.saturated.lock().await;
            let mut pause = FIRST_PAUSE;
            loop {
                match self.pool.get().await.map_err(StoreError::from) {
                    Err(StoreError::Saturated(_)) => {}
                    taken => return taken,
                }
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        };
        let waited = timeout_at(deadline, waiting).await;
        waited.unwrap_or(Err(StoreError::Busy))
    }

    /// After a refusal by a server that is read-only or shuts down, or the loss of a connection:
    /// closes the idle connections, which lead to the same server.
    pub(super) fn discard_after(&self, error: &StoreError) {
        if error.is_failover() {
            self.shared.retire();
            for pool in [&self.pool, &self.probe] {
                pool.retain(|_, _| false);
            }
        }
    }
}
