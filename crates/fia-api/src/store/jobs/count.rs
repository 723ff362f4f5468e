//! How many jobs there are.

use crate::model::Selection;
use crate::store::jobs::selection::Selected;
use crate::store::{Db, StoreError};

/// Counts jobs.
///
/// # Errors
/// [`StoreError::BadValue`] where a filter's text is no moment; else when the database fails.
pub async fn count(db: &Db, selection: &Selection) -> Result<i64, StoreError> {
    let selected = Selected::new(selection);
    let sql = format!("SELECT count(*) {}", selected.source());
    let rows = db.query(&sql, &selected.values.params()).await?;
    match rows.first() {
        Some(row) => Ok(row.try_get(0)?),
        None => Ok(0),
    }
}
