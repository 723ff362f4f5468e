//! PostgreSQL: the only place that holds SQL.
//!
//! Everything here is safe behind a pooler in transaction mode, `PgBouncer` 1.18 included: no
//! named statements, no session state, no cancel requests; values are always bound.

mod db;
pub mod instruments;
pub mod jobs;
mod rows;
pub mod schema;
mod tls;

pub use db::{Db, StoreError};
