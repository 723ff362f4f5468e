//! Insertion of new jobs.

use tokio_postgres::types::Type;

use crate::model::Program;
use crate::store::jobs::RUN_INSTRUMENT;
use crate::store::new_jobs::parts;
use crate::store::new_jobs::{KnownRun, Original};
use crate::store::{StoreError, Transaction};

/// A job that was inserted.
#[derive(Debug)]
pub struct InsertedJob {
    /// Its id.
    pub id: i32,
    /// The instrument of its run.
    pub instrument: Option<String>,
}

/// A job of an autoreduction.
#[derive(Debug, Clone, Copy)]
pub struct NewJob<'a> {
    /// The script and the image that it runs in.
    pub program: &'a Program,
    /// The commit of the script.
    pub sha: Option<&'a str>,
    /// The inputs of the script, as JSON.
    pub inputs: &'a str,
}

/// Inserts a job that runs a user's script without a run.
///
/// # Errors
/// When the database fails.
pub async fn insert_simple(
    transaction: &Transaction,
    program: &Program,
    user_number: i32,
) -> Result<InsertedJob, StoreError> {
    let owner_id = parts::user(transaction, user_number).await?;
    let row = Row {
        job_type: "SIMPLE",
        owner_id,
        instrument_id: None,
        run_id: None,
        inputs: "{}",
    };
    row.insert(transaction, program, None).await
}

/// Inserts a job that reduces the run of another job again.
///
/// # Errors
/// When the database fails.
pub async fn insert_rerun(
    transaction: &Transaction,
    program: &Program,
    original: &Original,
) -> Result<InsertedJob, StoreError> {
    let row = Row {
        job_type: "RERUN",
        owner_id: original.owner_id,
        instrument_id: original.instrument_id,
        run_id: original.run.as_ref().map(|(id, _)| *id),
        inputs: "{}",
    };
    row.insert(transaction, program, None).await
}

/// Inserts a job that reduces a run by its instrument's rules.
///
/// # Errors
/// When the database fails.
pub async fn insert_autoreduction(
    transaction: &Transaction,
    new: NewJob<'_>,
    run: &KnownRun,
) -> Result<InsertedJob, StoreError> {
    let row = Row {
        job_type: "AUTOREDUCTION",
        owner_id: run.owner_id,
        instrument_id: Some(run.instrument_id),
        run_id: Some(run.id),
        inputs: new.inputs,
    };
    row.insert(transaction, new.program, new.sha).await
}

struct Row<'a> {
    job_type: &'static str,
    owner_id: i32,
    instrument_id: Option<i32>,
    run_id: Option<i32>,
    inputs: &'a str,
}

impl Row<'_> {
    async fn insert(
        &self,
        transaction: &Transaction,
        program: &Program,
        sha: Option<&str>,
    ) -> Result<InsertedJob, StoreError> {
        let script_id = parts::script(transaction, &program.script, sha).await?;
        let sql = format!(
            "INSERT INTO jobs (job_type, state, inputs, script_id, runner_image, owner_id, \
               instrument_id, run_id) \
             VALUES ($1::jobtype, 'NOT_STARTED', $2::jsonb, $3, $4, $5, $6, $7) \
             RETURNING id, {RUN_INSTRUMENT}"
        );
        let rows = transaction
            .query(
                &sql,
                &[
                    (&self.job_type, Type::TEXT),
                    (&self.inputs, Type::TEXT),
                    (&script_id, Type::INT4),
                    (&program.runner_image, Type::TEXT),
                    (&self.owner_id, Type::INT4),
                    (&self.instrument_id, Type::INT4),
                    (&self.run_id, Type::INT4),
                ],
            )
            .await?;
        let row = rows.first().ok_or_else(parts::no_id)?;
        Ok(InsertedJob {
            id: row.try_get(0)?,
            instrument: row.try_get(1)?,
        })
    }
}
