//! Changes of a job.

use bytes::Bytes;
use tokio_postgres::types::Type;

use crate::model::json::render;
use crate::model::{JobChanges, Timestamp};
use crate::store::jobs::row::{Cells, JOB, JOIN_SCRIPT};
use crate::store::jobs::values::Values;
use crate::store::{Db, StoreError};

/// What PostgreSQL reads from a moment's text; a zone in it is ignored.
///
/// # Errors
/// [`StoreError::BadValue`] where it reads nothing; else when the database fails.
pub async fn parse_timestamp(db: &Db, text: &str) -> Result<Timestamp, StoreError> {
    let mut values = Values::default();
    let sql = format!("SELECT {}", values.moment(text.to_owned()));
    let rows = db.query(&sql, &values.params()).await?;
    match rows.first() {
        Some(row) => Ok(row.try_get(0)?),
        None => Err(StoreError::Refused("no row of one value".into())),
    }
}

/// Changes a job and gives the body of the answer, the job without its run. `None`: there is no
/// such job.
///
/// # Errors
/// When the database fails; the change may have been made all the same.
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
    let rows = db.query(&sql, &values.params()).await?;
    let job = rows.first().map(|row| Cells::of(row).job()).transpose()?;
    Ok(job.map(|job| render(&job)))
}

fn assignments(changes: JobChanges, values: &mut Values) -> Vec<String> {
    let mut set = Vec::new();
    if let Some(state) = changes.state {
        let state = values.text(state.name().to_owned());
        set.push(format!("state = {state}::state"));
    }
    for (column, text) in [
        ("status_message", changes.status_message),
        ("outputs", changes.outputs),
        ("stacktrace", changes.stacktrace),
    ] {
        if let Some(text) = text {
            set.push(format!("{column} = {}", values.text(text)));
        }
    }
    for (column, moment) in [("start", changes.start), ("\"end\"", changes.end)] {
        if let Some(moment) = moment {
            let moment = values.bind(moment, Type::TIMESTAMP);
            set.push(format!("{column} = {moment}"));
        }
    }
    set
}
