//! The tables, as the older server makes them.

use std::time::Duration;

use crate::store::{Db, StoreError};

/// Statements that create the tables and types that are missing, and alter nothing.
pub const TABLES: &str = include_str!("schema.sql");

/// Creates what is missing.
///
/// # Errors
/// When the database fails or the role may not create tables.
pub async fn apply(db: &Db) -> Result<(), StoreError> {
    db.batch(TABLES, Duration::from_secs(60)).await
}
