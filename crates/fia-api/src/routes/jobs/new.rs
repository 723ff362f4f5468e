//! New jobs, and resubmission of files.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use crate::admission::RequestPermit;
use crate::auth::{Caller, KeyHolder, Staff};
use crate::error::ApiError;
use crate::extract::Authed;
use crate::model::Program;
use crate::model::input::request_body;
use crate::model::json::render;
use crate::ops::AutoreductionRequest;
use crate::routes::jobs::input::{JobId, resolve_timestamps};
use crate::routes::{HandlerResult, json};
use crate::state::AppState;

/// `POST /job/rerun`
pub(in crate::routes) async fn rerun(
    State(state): State<AppState>,
    call: Authed<Caller, (), Rerun>,
) -> HandlerResult {
    let Rerun { job_id, program } = call.body;
    let (jobs, cached) = (&state.jobs, &state.cached);
    let id = jobs.rerun(cached, call.caller, job_id, &program).await?;
    Ok(json(render(&id)))
}

/// `POST /job/simple`
pub(in crate::routes) async fn simple(
    State(state): State<AppState>,
    call: Authed<Staff, (), Program>,
) -> HandlerResult {
    let user_number = call.caller.user_number();
    let id = state.jobs.simple(user_number, &call.body).await?;
    Ok(json(render(&id)))
}

/// `POST /job/{job_id}/resubmit`: reads no body and returns the id of the path.
pub(in crate::routes) async fn resubmit(
    State(state): State<AppState>,
    call: Authed<Caller, JobId>,
) -> HandlerResult {
    let JobId(job_id) = call.input;
    let (jobs, cached) = (&state.jobs, &state.cached);
    jobs.resubmit(cached, call.caller, job_id).await?;
    Ok(json(render(&job_id)))
}

/// `POST /job/autoreduction`: the job creator accepts only 201 as success. Held while the database
/// or GitHub is unavailable.
pub(in crate::routes) async fn autoreduction(
    State(state): State<AppState>,
    Extension(permit): Extension<RequestPermit>,
    call: Authed<KeyHolder, (), AutoreductionRequest>,
) -> Result<(StatusCode, Response), ApiError> {
    let attempt = || async {
        let mut body = call.body.clone();
        resolve_timestamps(&state.db, &mut body).await?;
        state.autoreduction.prepare(&body).await
    };
    let prepared = state.held.until_available(&permit, attempt).await?;
    let body = render(&serde_json::json!({
        "script": prepared.script,
        "job_id": prepared.job_id,
    }));
    Ok((StatusCode::CREATED, json(body)))
}

request_body! {
    /// The body of a rerun: the job to run again, and what to run.
    pub(in crate::routes) struct Rerun {
        /// The id of the job.
        job_id: i64,
        /// The script and its image.
        program: Program,
    }
}
