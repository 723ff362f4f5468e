//! The columns of a job in a response, and their conversion from a row.

use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use crate::model::json::from_jsonb;
use crate::model::script_text::without_token_lines;
use crate::model::{Job, Owner, Run, ScriptText};
use crate::store::StoreError;

/// The columns of [`ColumnCursor::job`]. Enums as text: otherwise the driver queries their types.
pub(super) const JOB: &str = "jobs.id, jobs.start, jobs.\"end\", jobs.state::text, \
     jobs.status_message, jobs.inputs::text, jobs.outputs, jobs.stacktrace, scripts.script, \
     jobs.runner_image, 'JobType.' || jobs.job_type::text";
/// The columns of [`ColumnCursor::run`].
pub(super) const RUN: &str = "runs.filename, run_owners.experiment_number, runs.title, \
     runs.users, runs.run_start, runs.run_end, runs.good_frames, runs.raw_frames, \
     run_instruments.instrument_name";
/// The columns of [`ColumnCursor::owner`].
pub(super) const OWNER: &str = "job_owners.experiment_number, job_owners.user_number";

/// The name of the instrument of the job's run. Lists show a job as one of it.
pub(in crate::store) const RUN_INSTRUMENT: &str = "(SELECT instrument_name FROM instruments \
     JOIN runs ON runs.instrument_id = instruments.id WHERE runs.id = jobs.run_id)";

pub(super) const JOIN_SCRIPT: &str = "LEFT JOIN scripts ON scripts.id = jobs.script_id";
pub(super) const JOIN_RUN: &str = "LEFT JOIN runs ON runs.id = jobs.run_id \
     LEFT JOIN job_owners run_owners ON run_owners.id = runs.owner_id \
     LEFT JOIN instruments run_instruments ON run_instruments.id = runs.instrument_id";
pub(super) const JOIN_OWNER: &str = "JOIN job_owners ON job_owners.id = jobs.owner_id";

/// A cursor over the columns of a row, read in their order.
pub(super) struct ColumnCursor<'r> {
    row: &'r Row,
    next: usize,
}

impl<'r> ColumnCursor<'r> {
    pub(super) fn of(row: &'r Row) -> Self {
        Self { row, next: 0 }
    }

    pub(super) fn take<T: FromSql<'r>>(&mut self) -> Result<T, StoreError> {
        let value = self.row.try_get(self.next)?;
        self.next += 1;
        Ok(value)
    }

    /// Reads the columns [`JOB`].
    pub(super) fn job(&mut self) -> Result<Job<'r>, StoreError> {
        Ok(Job {
            id: self.take()?,
            start: self.take()?,
            end: self.take()?,
            state: self.take()?,
            status_message: self.take()?,
            inputs: from_jsonb(self.take()?)
                .map_err(|error| StoreError::Refused(error.to_string().into()))?,
            outputs: self.take()?,
            stacktrace: self.take()?,
            script: self.take::<Option<&str>>()?.map(|script| ScriptText {
                value: without_token_lines(script),
            }),
            runner_image: self.take()?,
            job_type: self.take()?,
            run: None,
        })
    }

    /// Reads the columns [`RUN`], the last of a row; `None` if the job has no run.
    pub(super) fn run(&mut self) -> Result<Option<Run<'r>>, StoreError> {
        let Some(filename) = self.take()? else {
            return Ok(None);
        };
        Ok(Some(Run {
            filename,
            experiment_number: self.take()?,
            title: self.take()?,
            users: self.take()?,
            run_start: self.take()?,
            run_end: self.take()?,
            good_frames: self.take()?,
            raw_frames: self.take()?,
            instrument_name: self.take()?,
        }))
    }

    /// Reads the columns [`OWNER`].
    pub(super) fn owner(&mut self) -> Result<Owner, StoreError> {
        Ok(Owner {
            experiment_number: self.take()?,
            user_number: self.take()?,
        })
    }
}
