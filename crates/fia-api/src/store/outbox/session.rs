//! Sessions that hold claims: a claim ends with its session, whatever ends that.

use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::timeout;
use tokio_postgres::types::Type;

use crate::store::begin::BEGIN;
use crate::store::session::Session;
use crate::store::timeout::with_timeout;
use crate::store::{Db, StoreError};

/// The heartbeat interval. Without a heartbeat the server ends the session after 5 s
/// (`idle_in_transaction_session_timeout` in [`BEGIN`]): for a host that fails without closing
/// its connections.
const HEARTBEAT: Duration = Duration::from_millis(250);

/// A session that holds claims: an open transaction, on a connection of its own, with an advisory
/// lock on the session's id. PostgreSQL releases the lock when the connection ends, and so does a
/// pooler, which keeps a server connection for an open transaction. The transaction reads and
/// writes nothing, so that it does not hold back vacuuming.
#[derive(Debug)]
pub struct ClaimSession {
    id: i64,
    is_alive: watch::Receiver<bool>,
    /// Ends the heartbeat when dropped.
    _end: oneshot::Sender<()>,
}

impl ClaimSession {
    /// Opens a session with a random id. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// When the database fails or accepts no further connection.
    pub async fn open(db: &Db) -> Result<Self, StoreError> {
        let session = db.open_session().await?;
        let client = session.client();
        with_timeout(client.batch_execute(BEGIN)).await?;
        let id: i64 = rand::random();
        let lock = "SELECT pg_try_advisory_xact_lock($1)";
        let rows = with_timeout(client.query_typed(lock, &[(&id, Type::INT8)])).await?;
        let locked = rows.first().map(|row| row.try_get(0)).transpose()?;
        if locked != Some(true) {
            return Err(StoreError::Refused("advisory lock not available".into()));
        }
        let (alive, is_alive) = watch::channel(true);
        let (end, ended) = oneshot::channel();
        tokio::spawn(keep_alive(session, alive, ended));
        Ok(Self {
            id,
            is_alive,
            _end: end,
        })
    }

    /// The id, which claims carry.
    #[must_use]
    pub fn id(&self) -> i64 {
        self.id
    }

    /// Whether the last heartbeat succeeded.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        *self.is_alive.borrow()
    }

    /// Waits until a heartbeat fails.
    pub async fn lost(&self) {
        // An error means that the heartbeat has ended.
        let _ = self.is_alive.clone().wait_for(|is_alive| !is_alive).await;
    }
}

/// Sends heartbeats until the session is dropped or lost.
async fn keep_alive(
    session: Session,
    alive: watch::Sender<bool>,
    mut ended: oneshot::Receiver<()>,
) {
    let client = session.client();
    while timeout(HEARTBEAT, &mut ended).await.is_err() {
        if let Err(error) = with_timeout(client.batch_execute("SELECT 1")).await {
            tracing::debug!(%error, "claim session lost: claims in flight move to another");
            alive.send_replace(false);
            return;
        }
    }
    // Returns a pooler's server connection instead of having it closed.
    if let Err(error) = with_timeout(client.batch_execute("COMMIT")).await {
        tracing::debug!(%error, "claim session ended by closing its connection");
    }
}
