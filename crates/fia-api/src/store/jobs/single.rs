//! One job.

use bytes::Bytes;
use tokio_postgres::types::Type;

use crate::model::Owner;
use crate::model::json::render;
use crate::store::jobs::row::{ColumnCursor, JOB, JOIN_OWNER, JOIN_RUN, JOIN_SCRIPT, OWNER, RUN};
use crate::store::{Db, StoreError};

/// The response body of a job, and its owner.
#[derive(Debug)]
pub struct FoundJob {
    /// The response body: the job with its run.
    pub body: Bytes,
    /// The job's own owner, which may differ from the run's.
    pub owner: Owner,
}

/// Finds a job by id; `None` if it does not exist.
///
/// # Errors
/// When the database fails.
pub async fn find(db: &Db, id: i64) -> Result<Option<FoundJob>, StoreError> {
    let sql = format!(
        "SELECT {OWNER}, {JOB}, {RUN} FROM jobs {JOIN_SCRIPT} {JOIN_OWNER} {JOIN_RUN} \
         WHERE jobs.id = $1"
    );
    let rows = db.lookup(&sql, &[(&id, Type::INT8)]).await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let mut columns = ColumnCursor::of(row);
    let owner = columns.owner()?;
    let mut job = columns.job()?;
    job.run = Some(columns.run()?);
    let body = render(&job);
    Ok(Some(FoundJob { body, owner }))
}
