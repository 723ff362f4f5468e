//! New jobs, and files that are to be looked at anew.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde_json::{Map, Value};

use crate::auth::{Caller, KeyHolder, Staff};
use crate::error::ApiError;
use crate::extract::{Authed, Fields, FromBody, RawBody, ValidationErrors};
use crate::model::json::render;
use crate::model::{Program, python};
use crate::ops::Measured;
use crate::routes::jobs::input::{JobId, resolve_timestamp};
use crate::routes::{HandlerResult, json};
use crate::state::AppState;
use crate::store::Db;
use crate::store::new_jobs::NewRun;

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

/// `POST /job/{job_id}/resubmit`: reads no body, and answers with the id it was given.
pub(in crate::routes) async fn resubmit(
    State(state): State<AppState>,
    call: Authed<Caller, JobId>,
) -> HandlerResult {
    let JobId(job_id) = call.input;
    let (jobs, cached) = (&state.jobs, &state.cached);
    jobs.resubmit(cached, call.caller, job_id).await?;
    Ok(json(render(&job_id)))
}

/// `POST /job/autoreduction`: its caller takes nothing but 201 for a success.
pub(in crate::routes) async fn autoreduction(
    State(state): State<AppState>,
    call: Authed<KeyHolder, (), Autoreduction>,
) -> Result<(StatusCode, Response), ApiError> {
    let measured = call.body.resolve_timestamps(&state.db).await?;
    let prepared = state.autoreduction.prepare(&measured).await?;
    let body = render(&serde_json::json!({
        "script": prepared.script,
        "job_id": prepared.job_id,
    }));
    Ok((StatusCode::CREATED, json(body)))
}

impl FromBody for Program {
    fn parse(body: &RawBody, errors: &mut ValidationErrors) -> Option<Self> {
        Fields::of(body, errors).and_then(|fields| program(&fields, errors))
    }
}

fn program(fields: &Fields<'_>, errors: &mut ValidationErrors) -> Option<Program> {
    let runner_image = fields.string("runner_image", errors);
    let script = fields.string("script", errors);
    Some(Program {
        runner_image: runner_image?,
        script: script?,
    })
}

/// A job that is to be done again, with another script.
pub(in crate::routes) struct Rerun {
    job_id: i64,
    program: Program,
}

impl FromBody for Rerun {
    fn parse(body: &RawBody, errors: &mut ValidationErrors) -> Option<Self> {
        let fields = Fields::of(body, errors)?;
        let job_id = fields.integer("job_id", errors);
        let program = program(&fields, errors);
        Some(Self {
            job_id: job_id?,
            program: program?,
        })
    }
}

/// A file that was measured, with the moments as they were sent.
pub(in crate::routes) struct Autoreduction {
    filename: String,
    rb_number: i32,
    instrument: String,
    title: String,
    users: String,
    start: String,
    end: String,
    good_frames: i32,
    raw_frames: i32,
    inputs: Map<String, Value>,
    runner_image: String,
}

impl FromBody for Autoreduction {
    fn parse(body: &RawBody, errors: &mut ValidationErrors) -> Option<Self> {
        let fields = Fields::of(body, errors)?;
        let mut text = |name| fields.string(name, errors);
        let filename = text("filename");
        let rb_number = text("rb_number");
        let instrument = text("instrument_name");
        let (title, users) = (text("title"), text("users"));
        let (start, end) = (text("run_start"), text("run_end"));
        let good_frames = fields.small_integer("good_frames", errors);
        let raw_frames = fields.small_integer("raw_frames", errors);
        let inputs = fields.storable_object("additional_values", errors);
        let runner_image = fields.string("runner_image", errors);
        Some(Self {
            filename: filename?,
            rb_number: experiment_number(&rb_number?, errors)?,
            instrument: instrument?,
            title: title?,
            users: users?,
            start: start?,
            end: end?,
            good_frames: good_frames?,
            raw_frames: raw_frames?,
            inputs: inputs?,
            runner_image: runner_image?,
        })
    }
}

/// An experiment (RB) number is sent as a text.
fn experiment_number(text: &str, errors: &mut ValidationErrors) -> Option<i32> {
    let number = python::python_int(text).and_then(|number| i32::try_from(number).ok());
    if number.is_none() {
        let message = "Input should be an integer of at most 32 bits";
        errors.add("int_parsing", &["body", "rb_number"], message);
    }
    number
}

impl Autoreduction {
    /// Has the database read the moments.
    async fn resolve_timestamps(self, db: &Db) -> Result<Measured, ApiError> {
        let mut errors = ValidationErrors::default();
        let start = resolve_timestamp(db, "run_start", Some(self.start), &mut errors).await?;
        let end = resolve_timestamp(db, "run_end", Some(self.end), &mut errors).await?;
        let (Some(start), Some(end)) = (start, end) else {
            return Err(errors.into_error());
        };
        Ok(Measured {
            run: NewRun {
                filename: self.filename,
                rb_number: self.rb_number,
                instrument: self.instrument,
                title: self.title,
                users: self.users,
                start,
                end,
                good_frames: self.good_frames,
                raw_frames: self.raw_frames,
            },
            inputs: self.inputs,
            runner_image: self.runner_image,
        })
    }
}
