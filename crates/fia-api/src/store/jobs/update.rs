//! Updates of a job.

use bytes::Bytes;
use tokio_postgres::types::Type;

use crate::model::json::render;
use crate::model::{JobChanges, NewValue, Timestamp};
use crate::store::jobs::row::{ColumnCursor, JOB, JOIN_SCRIPT};
use crate::store::jobs::values::Values;
use crate::store::{Db, StoreError};

/// Parses a timestamp as PostgreSQL does; a time zone in it is ignored.
///
/// # Errors
/// [`StoreError::BadValue`] if the text is not a timestamp; otherwise when the database fails.
pub async fn parse_timestamp(db: &Db, text: &str) -> Result<Timestamp, StoreError> {
    let mut values = Values::default();
    let sql = format!("SELECT {}", values.timestamp(text.to_owned()));
    let rows = db.query(&sql, &values.params()).await?;
    match rows.first() {
        Some(row) => Ok(row.try_get(0)?),
        None => Err(StoreError::Refused(
            "a query of one value returned no row".into(),
        )),
    }
}

/// Updates a job and returns the response body, the job without its run; `None` if the job does
/// not exist.
///
/// # Errors
/// When the database fails; the change may have been made.
pub async fn update(db: &Db, id: i64, changes: JobChanges) -> Result<Option<Bytes>, StoreError> {
    let mut values = Values::default();
    let id = values.bind(id, Type::INT8);
    let set = assignments(changes, &mut values);
    let sql = if set.is_empty() {
        format!("SELECT {JOB} FROM jobs {JOIN_SCRIPT} WHERE jobs.id = {id}")
    } else {
        format!(
            "WITH jobs AS (UPDATE jobs SET {} WHERE jobs.id = {id} RETURNING *) \
             SELECT {JOB} FROM jobs {JOIN_SCRIPT}",
            set.join(", ")
        )
    };
    let rows = db.write(&sql, &values.params()).await?;
    let job = rows
        .first()
        .map(|row| ColumnCursor::of(row).job())
        .transpose()?;
    Ok(job.map(|job| render(&job)))
}

fn assignments(changes: JobChanges, values: &mut Values) -> Vec<String> {
    let assignment = |(column, value): (&str, NewValue)| {
        let value = match value {
            NewValue::State(state) => format!("{}::state", values.text(state.name().to_owned())),
            NewValue::Text(text) => values.text(text),
            NewValue::Timestamp(timestamp) => values.bind(timestamp, Type::TIMESTAMP),
        };
        format!("\"{column}\" = {value}")
    };
    changes.0.into_iter().map(assignment).collect()
}
