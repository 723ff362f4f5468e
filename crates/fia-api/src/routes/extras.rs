//! Extras: files that instrument scientists upload for their reductions. Staff only.

use axum::extract::State;

use crate::auth::Staff;
use crate::error::ApiError;
use crate::extract::{Authed, Form, FromInput, Input, Streamed, ValidationErrors, missing_file};
use crate::files::FileError;
use crate::model::json::render;
use crate::routes::{HandlerResult, json};
use crate::state::AppState;

/// The instruments that have a folder, as in the older server.
const INSTRUMENTS: &[&str] = &[
    "alf", "argus", "chipir", "chronus", "crisp", "emu", "enginx", "gem", "hifi", "hrpd", "imat",
    "ines", "inter", "iris", "larmor", "let", "loq", "maps", "mari", "merlin", "musr", "nimrod",
    "offspec", "osiris", "pearl", "polaris", "polref", "sandals", "sans2d", "surf", "sxd", "tosca",
    "vesuvio", "wish", "zoom", "test",
];
/// The longest file name that file systems accept, in bytes.
const MAX_NAME: usize = 255;

/// `GET /extras/`
pub(super) async fn list(State(state): State<AppState>, _: Authed<Staff, ()>) -> HandlerResult {
    Ok(json(render(&state.files.extras(None).await?)))
}

/// `GET /extras/{subdir}`
pub(super) async fn list_sub_folder(
    State(state): State<AppState>,
    call: Authed<Staff, SubFolder>,
) -> HandlerResult {
    let SubFolder(name) = call.input;
    let looks_like_a_file = name.contains('.');
    let listed = state.files.extras(Some(name)).await;
    let names = listed.map_err(|error| match error {
        FileError::NoFolder if looks_like_a_file => ApiError::Missing,
        error => error.into(),
    })?;
    Ok(json(render(&names)))
}

/// `POST /extras/{instrument}/{filename}`: the last of several files wins.
pub(super) async fn upload(
    State(state): State<AppState>,
    call: Streamed<Staff, Target>,
) -> HandlerResult {
    let Target { instrument, name } = call.input;
    let mut form = Form::of(&call.headers, call.body, state.files.largest_upload())?;
    let mut uploaded = None;
    while let Some(mut file) = form.next_file("file").await? {
        let mut upload = state.files.upload(instrument, name.clone()).await?;
        while let Some(bytes) = file.chunk().await? {
            upload.write(bytes).await?;
        }
        uploaded = Some(upload);
    }
    uploaded.ok_or_else(missing_file)?.keep().await?;
    Ok(json(render(&format!("Successfully uploaded {name}"))))
}

/// The path parameter `{subdir}`.
pub(super) struct SubFolder(String);

impl FromInput for SubFolder {
    fn parse(input: &Input, _: &mut ValidationErrors) -> Option<Self> {
        Some(Self(input.path("subdir").to_owned()))
    }
}

/// The path parameters `{instrument}` and `{filename}` of an upload.
pub(super) struct Target {
    instrument: &'static str,
    name: String,
}

impl FromInput for Target {
    fn parse(input: &Input, errors: &mut ValidationErrors) -> Option<Self> {
        let given = input.path("instrument");
        let instrument = INSTRUMENTS.iter().find(|known| **known == given);
        if instrument.is_none() {
            let message = "Input should be an instrument in lower case";
            errors.add("literal_error", &["path", "instrument"], message);
        }
        let name = input.path("filename");
        let fits = !name.contains('\0') && name.len() <= MAX_NAME;
        if !fits {
            let message = "Input should be a name of up to 255 bytes, without NUL";
            errors.add("value_error", &["path", "filename"], message);
        }
        Some(Self {
            instrument: instrument.copied().filter(|_| fits)?,
            name: name.to_owned(),
        })
    }
}
