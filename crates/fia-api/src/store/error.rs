//! Failures of the database, classified by what a caller can do about them.

use std::sync::Arc;

use deadpool_postgres::{PoolError, TimeoutType};

use crate::model::error_chain::error_chain;
use crate::store::db::POOL_WAIT;

/// A failure of the database.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// No connection became free in time.
    #[error("no free database connection within {} ms", POOL_WAIT.as_millis())]
    Busy,
    /// The database cannot be reached, or did not respond in time.
    #[error("database unavailable: {0}")]
    Unavailable(Arc<str>),
    /// A value from the client is invalid for its column's type.
    #[error("invalid value: {0}")]
    BadValue(Arc<str>),
    /// The database rejected the statement.
    #[error("database error: {0}")]
    Refused(Arc<str>),
}

impl StoreError {
    /// The failure of a wait that reached its limit.
    pub(super) fn timeout() -> Self {
        Self::Unavailable("response timeout".into())
    }
}

impl From<PoolError> for StoreError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Timeout(TimeoutType::Wait) => Self::Busy,
            other => Self::Unavailable(error_chain(&other).into()),
        }
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        let text = error_chain(&error).into();
        match error.code() {
            Some(code) if code.code().starts_with(DATA_EXCEPTION) => Self::BadValue(text),
            Some(code) if !is_outage(code.code()) => Self::Refused(text),
            _ => Self::Unavailable(text),
        }
    }
}

/// The SQLSTATE class of invalid values: not a date, out of range, …
const DATA_EXCEPTION: &str = "22";

/// Whether an SQLSTATE blames the server rather than the statement: connection (08),
/// serialization conflict (40), resources (53), limit or operator intervention (57), read-only
/// standby (25006), idle transaction ended by the server (25P03).
fn is_outage(sqlstate: &str) -> bool {
    ["08", "40", "53", "57", "25006", "25P03"]
        .iter()
        .any(|class| sqlstate.starts_with(class))
}
