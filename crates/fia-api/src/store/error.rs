//! Failures of the database, classified by what a caller can do about them.

use std::error::Error as _;
use std::io;
use std::sync::Arc;

use deadpool::managed::TimeoutType;
use tokio_postgres::error::DbError;

use crate::model::error_chain::error_chain;
use crate::store::manager::PoolError;
use crate::store::pool::POOL_WAIT;

/// A failure of the database.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// No connection became free in time.
    #[error("no free database connection within {} ms", POOL_WAIT.as_millis())]
    Busy,
    /// The database cannot be reached, or did not respond in time.
    #[error("database unavailable: {0}")]
    Unavailable(Arc<str>),
    /// The server has no connection to spare: its limit, or that of the pooler.
    #[error("no connection to spare: {0}")]
    Saturated(Arc<str>),
    /// The server is starting, shutting down or read-only, and refused the statement: nothing was
    /// written, and another host may be the primary.
    #[error("database fails over: {0}")]
    Failover(Arc<str>),
    /// The connection was lost without a response: a change may have been made.
    #[error("database connection lost: {0}")]
    Lost(Arc<str>),
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
            PoolError::Backend(error) => error,
            other => Self::Unavailable(error_chain(&other).into()),
        }
    }
}

impl StoreError {
    /// Whether the connection leads to a server that is read-only, shuts down or is gone.
    pub(super) fn is_failover(&self) -> bool {
        matches!(self, Self::Failover(_) | Self::Lost(_))
    }

    /// The failure to open a connection.
    pub(super) fn of_connecting(error: &tokio_postgres::Error) -> Self {
        let text = error_chain(error).into();
        match error.as_db_error() {
            Some(refusal) if is_saturated(refusal) => Self::Saturated(text),
            Some(refusal) if is_failover(refusal.code().code()) => Self::Failover(text),
            _ => Self::Unavailable(text),
        }
    }
}

/// The failure of a statement.
impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        let text = error_chain(&error).into();
        let Some(refusal) = error.as_db_error() else {
            return match error.source() {
                None if error.is_closed() => Self::Lost(text),
                Some(cause) if cause.is::<io::Error>() => Self::Lost(text),
                _ => Self::Unavailable(text),
            };
        };
        let code = refusal.code().code();
        if code.starts_with(DATA_EXCEPTION) {
            Self::BadValue(text)
        } else if is_saturated(refusal) {
            Self::Saturated(text)
        } else if is_failover(code) {
            Self::Failover(text)
        } else if code.starts_with(CONNECTION_EXCEPTION) {
            Self::Lost(text)
        } else if is_outage(code) {
            Self::Unavailable(text)
        } else {
            Self::Refused(text)
        }
    }
}

/// The SQLSTATE class of invalid values: not a date, out of range, …
const DATA_EXCEPTION: &str = "22";
/// The SQLSTATE class of connections, among them those of a pooler to its server.
const CONNECTION_EXCEPTION: &str = "08";
/// The SQLSTATE of a server whose limit of connections is reached.
const TOO_MANY_CONNECTIONS: &str = "53300";
/// The SQLSTATE under which `PgBouncer` reports its own failures and those of its logins.
const PROTOCOL_VIOLATION: &str = "08P01";
/// Parts of the poolers' messages for the same: of `PgBouncer` for its limit of clients, and those
/// of PostgreSQL that it passes on.
const POOLER_IS_FULL: [&str; 3] = [
    "no more connections allowed",
    "too many clients already",
    "too many connections for",
];

/// Whether the server or a pooler has no connection to spare.
fn is_saturated(refusal: &DbError) -> bool {
    let code = refusal.code().code();
    let is_full = || {
        let mut parts = POOLER_IS_FULL.iter();
        parts.any(|part| refusal.message().contains(part))
    };
    code == TOO_MANY_CONNECTIONS || (code == PROTOCOL_VIOLATION && is_full())
}

/// Whether an SQLSTATE means that the server is read-only (25006), shutting down (57P01, 57P02) or
/// starting (57P03).
fn is_failover(sqlstate: &str) -> bool {
    ["25006", "57P01", "57P02", "57P03"].contains(&sqlstate)
}

/// Whether an SQLSTATE blames the server rather than the statement: serialization conflict (40),
/// resources (53), limit or operator intervention (57), idle transaction ended by the server
/// (25P03).
fn is_outage(sqlstate: &str) -> bool {
    ["40", "53", "57", "25P03"]
        .iter()
        .any(|class| sqlstate.starts_with(class))
}
