//! New jobs and changes of jobs. A new job is created in one transaction with its message. A
//! rejected or failed request leaves nothing behind.

use bytes::Bytes;

use crate::auth::Caller;
use crate::cached::{Cached, JobGroups};
use crate::error::ApiError;
use crate::model::{JobChanges, Message, Program};
use crate::ops::Outbox;
use crate::store::new_jobs::{self, Original};
use crate::store::{Db, jobs};

/// Creates and changes jobs.
pub struct Jobs {
    db: Db,
    groups: JobGroups,
    outbox: Outbox,
    /// The queue that jobs are published to.
    queue: String,
    /// The prefixes of runner images that users may name; empty allows every image.
    allowed_images: Vec<String>,
}

impl Jobs {
    /// Creates the operation from its dependencies.
    #[must_use]
    pub fn new(
        db: Db,
        groups: JobGroups,
        outbox: Outbox,
        queue: String,
        allowed_images: Vec<String>,
    ) -> Self {
        Self {
            db,
            groups,
            outbox,
            queue,
            allowed_images,
        }
    }

    /// The outbox of the jobs' messages.
    #[must_use]
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Changes a job, and returns the response body, the job without its run.
    ///
    /// # Errors
    /// [`ApiError::Missing`] if it does not exist; [`ApiError::Unavailable`] if the database is
    /// unavailable: the change may have been made.
    pub async fn update(&self, id: i64, changes: JobChanges) -> Result<Bytes, ApiError> {
        let job = jobs::update(&self.db, id, changes).await?;
        let job = job.ok_or(ApiError::Missing)?;
        if let Some(transaction) = job.transaction {
            let instrument = job.instrument.as_deref();
            self.groups.commit(transaction, instrument).await?;
        }
        Ok(job.body)
    }

    /// Creates a job that runs a script without a run, and returns its id.
    ///
    /// # Errors
    /// [`ApiError::Unavailable`] if the database is unavailable, or without an outbox table the
    /// broker.
    pub async fn simple(&self, user_number: i32, program: &Program) -> Result<i32, ApiError> {
        let transaction = self.db.begin().await?;
        let job = new_jobs::insert_simple(&transaction, program, user_number).await?;
        let message = Message::simple(&self.queue, job.id, program, user_number);
        self.outbox.commit(transaction, &job, message).await?;
        Ok(job.id)
    }

    /// Creates a job that reduces the run of another job again, and returns its id.
    ///
    /// # Errors
    /// As [`Jobs::resubmit`]; [`ApiError::Invalid`] for an image that users may not use.
    pub async fn rerun(
        &self,
        cached: &Cached,
        caller: Caller,
        job_id: i64,
        program: &Program,
    ) -> Result<i32, ApiError> {
        self.check_image(caller, &program.runner_image)?;
        let original = self.original(cached, caller, job_id).await?;
        let (_, run) = original.run.as_ref().ok_or(ApiError::MalformedJob)?;
        let transaction = self.db.begin().await?;
        let job = new_jobs::insert_rerun(&transaction, program, &original).await?;
        let message = Message::rerun(&self.queue, job.id, program, run);
        self.outbox.commit(transaction, &job, message).await?;
        Ok(job.id)
    }

    /// Publishes the file of a job's run to run-detection, as if it had just been measured.
    ///
    /// # Errors
    /// [`ApiError::Missing`] for a missing job or one without an experiment,
    /// [`ApiError::Forbidden`] if the caller is not part of the experiment,
    /// [`ApiError::MalformedJob`] if the job has no run or the run no file; else as
    /// [`Jobs::simple`].
    pub async fn resubmit(
        &self,
        cached: &Cached,
        caller: Caller,
        job_id: i64,
    ) -> Result<(), ApiError> {
        let original = self.original(cached, caller, job_id).await?;
        let run = original.run.map(|(_, run)| run);
        let run = run.filter(|run| !run.filename.is_empty());
        let run = run.ok_or(ApiError::MalformedJob)?;
        self.outbox.send(Message::watch_file(&run.filename)).await
    }

    /// The job to run again, after the access check. A user must be part of the experiment;
    /// owning the job is not sufficient.
    async fn original(
        &self,
        cached: &Cached,
        caller: Caller,
        job_id: i64,
    ) -> Result<Original, ApiError> {
        let original = new_jobs::original(&self.db, job_id).await?;
        let original = original.ok_or(ApiError::Missing)?;
        let experiment_number = original.experiment_number.ok_or(ApiError::Missing)?;
        if let Caller::User { user_number } = caller {
            let experiments = cached.experiments(user_number).await?;
            if !experiments.contains(&i64::from(experiment_number)) {
                return Err(ApiError::Forbidden);
            }
        }
        Ok(original)
    }

    fn check_image(&self, caller: Caller, image: &str) -> Result<(), ApiError> {
        let allowed = || {
            let prefixes = &self.allowed_images;
            prefixes.is_empty() || prefixes.iter().any(|prefix| image.starts_with(prefix))
        };
        match caller {
            Caller::User { .. } if !allowed() => Err(ApiError::Invalid(
                "runner_image: this image may not be used".to_owned(),
            )),
            Caller::ApiKey | Caller::Staff { .. } | Caller::User { .. } => Ok(()),
        }
    }
}
