//! The tables, as the older server makes them.

use std::time::Duration;

use crate::store::{Db, StoreError};

/// Statements that create the tables and types that are missing, and alter nothing.
pub const TABLES: &str = include_str!("schema.sql");
/// Statements that have the database tell of changed instruments (see [`crate::store::ChangeFeed`]).
pub const CHANGE_FEED: &str = include_str!("change_feed.sql");

/// Creates what is missing.
///
/// # Errors
/// When the database fails or the role may not create tables.
pub async fn apply(db: &Db) -> Result<(), StoreError> {
    db.batch(TABLES, Duration::from_secs(60)).await
}

/// Has the database tell of changed instruments.
///
/// # Errors
/// When the database fails, the table does not exist or belongs to another role.
pub async fn install_change_feed(db: &Db) -> Result<(), StoreError> {
    db.batch(CHANGE_FEED, Duration::from_secs(60)).await
}
