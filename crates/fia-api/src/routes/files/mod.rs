//! Reduced data: locations of files, single files, and archives.

mod archive;
mod content;
mod input;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};

use crate::auth::Caller;
use crate::error::{ApiError, add_missing_file_headers};
use crate::extract::Authed;
use crate::files::{Folder, Name};
use crate::model::InstrumentName;
use crate::model::json::render;
use crate::ops::job_files;
use crate::routes::{HandlerResult, json};
use crate::state::AppState;
use archive::RequestedFiles;
use input::{ExperimentNumber, FileQuery, JobFile, UserNumber};

/// `GET /find_file/instrument/{instrument}/experiment_number/{experiment_number}`
pub(super) async fn find_of_instrument(
    State(state): State<AppState>,
    call: Authed<Caller, (InstrumentName, (ExperimentNumber, FileQuery))>,
) -> HandlerResult {
    let (instrument, (ExperimentNumber(experiment), file)) = call.input;
    let folder = Folder::Instrument {
        instrument,
        experiment,
    };
    find(&state, call.caller, folder, file).await
}

/// `GET /find_file/generic/experiment_number/{experiment_number}`
pub(super) async fn find_of_experiment(
    State(state): State<AppState>,
    call: Authed<Caller, (ExperimentNumber, FileQuery)>,
) -> HandlerResult {
    let (ExperimentNumber(number), file) = call.input;
    find(&state, call.caller, Folder::Experiment(number), file).await
}

/// `GET /find_file/generic/user_number/{user_number}`
pub(super) async fn find_of_user(
    State(state): State<AppState>,
    call: Authed<Caller, (UserNumber, FileQuery)>,
) -> HandlerResult {
    let (UserNumber(number), file) = call.input;
    find(&state, call.caller, Folder::User(number), file).await
}

async fn find(state: &AppState, caller: Caller, folder: Folder, file: FileQuery) -> HandlerResult {
    job_files::check_folder_access(&state.cached, caller, &folder).await?;
    let name = Name::new(&file.0).ok_or(ApiError::Missing)?;
    Ok(json(render(&state.files.find(folder, name).await?)))
}

/// `GET` and `HEAD /job/{job_id}/filename/{filename}`
pub(super) async fn download(
    State(state): State<AppState>,
    method: Method,
    headers: HeaderMap,
    call: Authed<Caller, JobFile>,
) -> HandlerResult {
    let JobFile { job, name } = call.input;
    let folder = job_files::folder(&state.db, &state.cached, call.caller, job).await?;
    let name = Name::new(&name).ok_or(ApiError::Missing)?;
    let file = state.files.open(folder, name.clone()).await?;
    content::respond(file, name.last(), &method, &headers)
}

/// `POST /job/download-zip`
pub(super) async fn download_zip(
    State(state): State<AppState>,
    call: Authed<Caller, (), RequestedFiles>,
) -> HandlerResult {
    let jobs = call.body.jobs();
    let folders = job_files::folders(&state.db, &state.cached, call.caller, &jobs).await?;
    let plan = state.files.plan_zip(call.body.requests(&folders)).await?;
    if plan.is_empty() {
        return Err(ApiError::NoneFound(plan.missing));
    }
    let missing = plan.missing.clone();
    let mut response = Response::new(Body::from_stream(state.files.zip(plan)?));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/zip"));
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static(ARCHIVE));
    if !missing.0.is_empty() {
        add_missing_file_headers(headers, &missing);
    }
    Ok(response.into_response())
}

/// The content disposition of archives.
const ARCHIVE: &str = "attachment; filename=reduction_files.zip";
