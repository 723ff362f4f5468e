//! Autoreduction jobs: the run of a new data file, and the script that its instrument's transform
//! generates from the inputs.

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use crate::cached::JobGroups;
use crate::error::ApiError;
use crate::model::input::request_body;
use crate::model::{NewRun, Program, json};
use crate::ops::AttemptError;
use crate::scripts::{Inputs, Scripts, Transform};
use crate::store::Db;
use crate::store::new_jobs::{self, NewJob};

/// Creates autoreduction jobs.
pub struct Autoreduction {
    db: Db,
    groups: JobGroups,
    scripts: Scripts,
    /// Inserted into scripts.
    github_token: SecretString,
    dev_mode: bool,
}

request_body! {
    /// A measured run and how to reduce it: the body of `POST /job/autoreduction`.
    #[derive(Debug, Clone)]
    pub struct AutoreductionRequest {
        /// The run.
        run: NewRun,
        /// The inputs of the script, from run-detection's rules.
        additional_values: Map<String, Value>,
        /// The container image that runs the script.
        runner_image: String,
    }
}

/// A new job and its script.
#[derive(Debug)]
pub struct PreparedJob {
    /// The script, with the GitHub token: the caller runs it.
    pub script: String,
    /// The id of the job.
    pub job_id: i32,
}

impl Autoreduction {
    /// Creates the operation from its dependencies.
    #[must_use]
    pub fn new(
        db: Db,
        groups: JobGroups,
        scripts: Scripts,
        github_token: SecretString,
        dev_mode: bool,
    ) -> Self {
        Self {
            db,
            groups,
            scripts,
            github_token,
            dev_mode,
        }
    }

    /// Creates the job. If the file has a run already, that run with its owner and instrument is
    /// used. No message is published: the caller runs the script itself.
    ///
    /// # Errors
    /// [`ApiError::BadCharacters`], [`ApiError::NoTransform`] and [`ApiError::NoScript`] for an
    /// instrument without scripts, [`ApiError::Invalid`] for inputs that its transform rejects,
    /// [`ApiError::Unavailable`] if the database or GitHub is unavailable: with
    /// [`AttemptError::Unknown`] the job may have been created.
    pub async fn prepare(
        &self,
        request: &AutoreductionRequest,
    ) -> Result<PreparedJob, AttemptError> {
        let filename = &request.run.filename;
        let known = new_jobs::run_of_file(&self.db, filename).await?;
        let instrument = match known {
            Some(run) => run.instrument,
            None => request.run.instrument_name.clone(),
        };
        if let Some(prepared) = self.prepare_as(request, &instrument).await? {
            return Ok(prepared);
        }
        // A concurrent request added the file's run with another instrument.
        let known = new_jobs::run_of_file(&self.db, filename).await?;
        let instrument = known.ok_or(ApiError::Internal)?.instrument;
        let prepared = self.prepare_as(request, &instrument).await?;
        Ok(prepared.ok_or(ApiError::Internal)?)
    }

    /// Creates the job with the script of this instrument; `None` if the file's run has another
    /// instrument.
    async fn prepare_as(
        &self,
        request: &AutoreductionRequest,
        instrument: &str,
    ) -> Result<Option<PreparedJob>, AttemptError> {
        // Before the transaction, which must not wait for GitHub.
        let (script, sha) = self.script(request, instrument).await?;
        let program = Program {
            runner_image: request.runner_image.clone(),
            script,
        };
        let inputs = json::render(&request.additional_values);
        let new = NewJob {
            program: &program,
            sha: sha.as_deref(),
            inputs: &String::from_utf8_lossy(&inputs),
        };
        let transaction = self.db.begin().await?;
        let run = new_jobs::run_of(&transaction, &request.run).await?;
        if run.instrument != instrument {
            transaction.roll_back().await;
            return Ok(None);
        }
        let job = new_jobs::insert_autoreduction(&transaction, new, &run).await?;
        let committed = self.groups.commit(transaction, job.instrument.as_deref());
        let committed = committed.await;
        committed.map_err(|error| AttemptError::Unknown(error.into()))?;
        Ok(Some(PreparedJob {
            script: program.script,
            job_id: job.id,
        }))
    }

    /// The script of a job, and the commit it was fetched from.
    async fn script(
        &self,
        request: &AutoreductionRequest,
        instrument: &str,
    ) -> Result<(String, Option<String>), ApiError> {
        if instrument.contains(['.', '/', '\\']) {
            return Err(ApiError::BadCharacters);
        }
        let transform = Transform::of(instrument).ok_or(ApiError::NoTransform)?;
        let script = self.scripts.fetch(transform).await?;
        let inputs = Inputs::new(&request.additional_values, self.dev_mode);
        let token = self.github_token.expose_secret();
        Ok((transform.apply(&script.text, &inputs, token)?, script.sha))
    }
}
