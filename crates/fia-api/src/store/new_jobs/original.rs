//! The job that a rerun or a resubmission is based on.

use tokio_postgres::types::Type;

use crate::model::RunData;
use crate::store::{Db, StoreError};

/// The parts of a job that a rerun or a resubmission needs.
#[derive(Debug, Clone)]
pub struct Original {
    /// The id of its owner.
    pub owner_id: i32,
    /// The experiment (RB) number of its owner.
    pub experiment_number: Option<i32>,
    /// The id of its instrument.
    pub instrument_id: Option<i32>,
    /// The id of its run, and the run's data for the job's message.
    pub run: Option<(i32, RunData)>,
}

/// Finds a job by id; `None` if it does not exist.
///
/// # Errors
/// When the database fails.
pub async fn original(db: &Db, id: i64) -> Result<Option<Original>, StoreError> {
    let rows = db
        .lookup(
            "SELECT jobs.owner_id, owners.experiment_number, jobs.instrument_id, runs.id, \
               runs.filename, run_owners.experiment_number, \
               coalesce(instruments.instrument_name, run_instruments.instrument_name) \
             FROM jobs JOIN job_owners owners ON owners.id = jobs.owner_id \
             LEFT JOIN instruments ON instruments.id = jobs.instrument_id \
             LEFT JOIN runs ON runs.id = jobs.run_id \
             LEFT JOIN job_owners run_owners ON run_owners.id = runs.owner_id \
             LEFT JOIN instruments run_instruments ON run_instruments.id = runs.instrument_id \
             WHERE jobs.id = $1",
            &[(&id, Type::INT8)],
        )
        .await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let run_id: Option<i32> = row.try_get(3)?;
    let run = match run_id {
        None => None,
        Some(id) => Some((
            id,
            RunData {
                filename: row.try_get(4)?,
                rb_number: row.try_get(5)?,
                instrument: row.try_get(6)?,
            },
        )),
    };
    Ok(Some(Original {
        owner_id: row.try_get(0)?,
        experiment_number: row.try_get(1)?,
        instrument_id: row.try_get(2)?,
        run,
    }))
}
