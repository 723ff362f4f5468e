//! The job for a file that was just measured: its run, and the script that its instrument's
//! rules make of the inputs.

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use crate::error::ApiError;
use crate::model::{Program, json};
use crate::scripts::{Inputs, Scripts, Transform};
use crate::store::Db;
use crate::store::new_jobs::{self, NewJob, NewRun};

/// Makes autoreduction jobs.
pub struct Autoreduction {
    db: Db,
    scripts: Scripts,
    /// Pasted into scripts.
    github_token: SecretString,
    dev_mode: bool,
}

/// A file that was measured, and how it is to be reduced.
#[derive(Debug)]
pub struct Measured {
    /// Its run.
    pub run: NewRun,
    /// What run-detection's rules give the script.
    pub inputs: Map<String, Value>,
    /// Image of the container that runs the script.
    pub runner_image: String,
}

/// A job, with its script.
#[derive(Debug)]
pub struct Prepared {
    /// The script, token included: its caller runs it.
    pub script: String,
    /// Number of the job.
    pub job_id: i32,
}

impl Autoreduction {
    /// Puts together what jobs are made with.
    #[must_use]
    pub fn new(db: Db, scripts: Scripts, github_token: SecretString, dev_mode: bool) -> Self {
        Self {
            db,
            scripts,
            github_token,
            dev_mode,
        }
    }

    /// Makes the job. A file that is known keeps its run, with its owner and instrument;
    /// nothing is published, as the caller runs the script itself.
    ///
    /// # Errors
    /// [`ApiError::BadCharacters`], [`ApiError::NoTransform`] and [`ApiError::NoScript`] for an
    /// instrument that has no scripts, [`ApiError::Invalid`] for inputs that its script cannot
    /// take, [`ApiError::Unavailable`] where the database or GitHub is away.
    pub async fn prepare(&self, measured: &Measured) -> Result<Prepared, ApiError> {
        let filename = &measured.run.filename;
        let known = new_jobs::run_of_file(&self.db, filename).await?;
        let instrument = match known {
            Some(run) => run.instrument,
            None => measured.run.instrument.clone(),
        };
        if let Some(prepared) = self.prepare_as(measured, &instrument).await? {
            return Ok(prepared);
        }
        // Another request has just added the file's run, with another instrument.
        let known = new_jobs::run_of_file(&self.db, filename).await?;
        let instrument = known.ok_or(ApiError::Internal)?.instrument;
        let prepared = self.prepare_as(measured, &instrument).await?;
        prepared.ok_or(ApiError::Internal)
    }

    /// Makes the job with the script of this instrument; `None` where the file's run turns out
    /// to be another's.
    async fn prepare_as(
        &self,
        measured: &Measured,
        instrument: &str,
    ) -> Result<Option<Prepared>, ApiError> {
        // Before the transaction: GitHub may take its time.
        let (script, sha) = self.script(measured, instrument).await?;
        let program = Program {
            runner_image: measured.runner_image.clone(),
            script,
        };
        let inputs = json::render(&measured.inputs);
        let new = NewJob {
            program: &program,
            sha: sha.as_deref(),
            inputs: &String::from_utf8_lossy(&inputs),
        };
        let transaction = self.db.begin().await?;
        let run = new_jobs::run_of(&transaction, &measured.run).await?;
        if run.instrument != instrument {
            transaction.roll_back().await;
            return Ok(None);
        }
        let job_id = new_jobs::insert_autoreduction(&transaction, new, &run).await?;
        transaction.commit().await?;
        Ok(Some(Prepared {
            script: program.script,
            job_id,
        }))
    }

    /// The script of a job, and the commit that it comes from.
    async fn script(
        &self,
        measured: &Measured,
        instrument: &str,
    ) -> Result<(String, Option<String>), ApiError> {
        if instrument.contains(['.', '/', '\\']) {
            return Err(ApiError::BadCharacters);
        }
        let transform = Transform::of(instrument).ok_or(ApiError::NoTransform)?;
        let script = self.scripts.fetch(transform).await?;
        let inputs = Inputs::new(&measured.inputs, self.dev_mode);
        let token = self.github_token.expose_secret();
        Ok((transform.apply(&script.text, &inputs, token)?, script.sha))
    }
}
