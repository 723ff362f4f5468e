//! Opens and checks the sessions of the pool.

use deadpool::managed::{self, Metrics, RecycleError, RecycleResult};

use crate::store::StoreError;
use crate::store::connect::Connector;
use crate::store::session::Session;

/// A pool of sessions.
pub(super) type Pool = managed::Pool<Manager>;
/// A session of the pool.
pub(super) type Pooled = managed::Object<Manager>;
/// The failure to get a session.
pub(super) type PoolError = managed::PoolError<StoreError>;

/// The manager of a pool's sessions.
pub(super) struct Manager(pub(super) Connector);

impl managed::Manager for Manager {
    /// Boxed, as it is moved from the pool to its user and back.
    type Type = Box<Session>;
    type Error = StoreError;

    async fn create(&self) -> Result<Box<Session>, StoreError> {
        Ok(Box::new(self.0.open().await?))
    }

    /// Does not ask the server: a statement on a session that was lost is repeated on another one.
    async fn recycle(&self, session: &mut Box<Session>, _: &Metrics) -> RecycleResult<StoreError> {
        if session.client().is_closed() {
            return Err(RecycleError::message("the connection was closed"));
        }
        Ok(())
    }
}
