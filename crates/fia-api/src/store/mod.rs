//! PostgreSQL: the only module that holds SQL.
//!
//! All of it is safe behind a pooler in transaction mode, `PgBouncer` 1.18 included: named
//! statements and session state only where a session is known to be direct (`session`), no cancel
//! requests; values are always bound.

mod begin;
mod by_keys;
mod change_feed;
mod connect;
mod connection;
mod db;
mod error;
mod feed_counters;
pub mod indexes;
pub mod instruments;
pub mod jobs;
pub mod list_table;
mod load;
mod manager;
mod metrics;
pub mod new_jobs;
pub mod outbox;
mod pool;
mod query;
mod reachability;
mod retry;
mod rows;
pub mod schema;
mod session;
mod shared;
mod statement;
mod statements;
mod tcp;
mod timeout;
mod tls;
mod transaction;
mod triggers;

pub use change_feed::{Change, ChangeFeed};
pub use db::Db;
pub use error::StoreError;
pub use feed_counters::{ChangeFeedCounters, ChangeFeedStats};
pub use metrics::DatabaseMetrics;
pub use pool::Connections;
pub use reachability::{Reachability, ReachabilityStats, Reply};
pub use session::SessionKind;
pub use transaction::Transaction;
pub use triggers::Triggers;
