//! Updates of a job.

use bytes::Bytes;
use tokio_postgres::types::Type;

use crate::model::json::render;
use crate::model::{JobChanges, NewValue, Timestamp};
use crate::store::jobs::row::{ColumnCursor, JOB, JOIN_SCRIPT, RUN_INSTRUMENT};
use crate::store::jobs::values::Values;
use crate::store::{Db, StoreError, Transaction};

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

/// A job after its update.
pub struct UpdatedJob {
    /// The job without its run, as a response body.
    pub body: Bytes,
    /// The transaction to commit; `None` if nothing is to be changed.
    pub transaction: Option<Transaction>,
    /// The instrument of its run.
    pub instrument: Option<String>,
}

/// Updates a job in a transaction that is yet to be committed; `None` if the job does not exist.
///
/// # Errors
/// When the database fails.
pub async fn update(
    db: &Db,
    id: i64,
    changes: JobChanges,
) -> Result<Option<UpdatedJob>, StoreError> {
    let mut values = Values::default();
    let id = values.bind(id, Type::INT8);
    let set = assignments(changes, &mut values);
    let select = format!("SELECT {JOB}, {RUN_INSTRUMENT} FROM jobs {JOIN_SCRIPT}");
    let (transaction, rows) = if set.is_empty() {
        let sql = format!("{select} WHERE jobs.id = {id}");
        (None, db.query(&sql, &values.params()).await?)
    } else {
        let set = set.join(", ");
        let sql = format!(
            "WITH jobs AS (UPDATE jobs SET {set} WHERE jobs.id = {id} RETURNING *) {select}"
        );
        match db.update(&sql, &values.params(), values.bytes()).await? {
            Some((transaction, rows)) => (Some(transaction), rows),
            None => return Ok(None),
        }
    };
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let mut columns = ColumnCursor::of(row);
    Ok(Some(UpdatedJob {
        body: render(&columns.job()?),
        transaction,
        instrument: columns.take()?,
    }))
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
