//! PostgreSQL: the only module that holds SQL.
//!
//! All of it is safe behind a pooler in transaction mode, `PgBouncer` 1.18 included: no
//! named statements, no session state, no cancel requests; values are always bound.

mod change_feed;
mod connect;
mod connection;
mod db;
mod error;
pub mod indexes;
pub mod instruments;
pub mod jobs;
mod load;
mod metrics;
pub mod new_jobs;
pub mod outbox;
mod pool;
mod reachability;
mod retry;
mod rows;
pub mod schema;
mod statement;
mod timeout;
mod tls;
mod transaction;
mod update;

pub use change_feed::{Change, ChangeFeed, ChangeFeedCounters, ChangeFeedStats};
pub use db::Db;
pub use error::StoreError;
pub use metrics::DatabaseMetrics;
pub use pool::Connections;
pub use reachability::{Reachability, ReachabilityStats};
pub use transaction::Transaction;
