//! One job.

use bytes::Bytes;

use crate::model::Owner;
use crate::model::json::render;
use crate::store::jobs::row::{Cells, JOB, JOIN_OWNER, JOIN_RUN, JOIN_SCRIPT, OWNER, RUN};
use crate::store::{Db, StoreError};
use tokio_postgres::types::Type;

/// A job as it is answered, and whom it belongs to.
#[derive(Debug)]
pub struct Found {
    /// The body of the answer: the job with its run.
    pub body: Bytes,
    /// The job's own owner, which may be another than the run's.
    pub owner: Owner,
}

/// Looks a job up. `None`: there is none of this id.
///
/// # Errors
/// When the database fails.
pub async fn find(db: &Db, id: i64) -> Result<Option<Found>, StoreError> {
    let sql = format!(
        "SELECT {OWNER}, {JOB}, {RUN} FROM jobs {JOIN_SCRIPT} {JOIN_OWNER} {JOIN_RUN} \
         WHERE jobs.id = $1"
    );
    let rows = db.query(&sql, &[(&id, Type::INT8)]).await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let mut cells = Cells::of(row);
    let owner = cells.owner()?;
    let mut job = cells.job()?;
    job.run = Some(cells.run()?);
    let body = render(&job);
    Ok(Some(Found { body, owner }))
}
