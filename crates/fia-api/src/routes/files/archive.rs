//! The body of an archive request: `{"<job>": ["<name>", …], …}`.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use crate::error::ApiError;
use crate::extract::{FromBody, RawBody, ValidationErrors};
use crate::files::Folder;
use crate::files::zip::Request;
use crate::model::python;
use crate::state::AppState;

/// The names of files by job, in the order of the body.
pub(in crate::routes) struct RequestedFiles(Vec<(i64, Vec<String>)>);

impl FromBody for RequestedFiles {
    /// A job without files counts as one file: its access is checked, too.
    fn check_limits(body: &RawBody, state: &AppState) -> Result<(), ApiError> {
        let RawBody::Value(Value::Object(requested)) = body else {
            return Ok(());
        };
        let of_job = |names: &Value| names.as_array().map_or(1, |names| names.len().max(1));
        let files: usize = requested.values().map(of_job).sum();
        if files > state.files.max_zip_files() {
            return Err(ApiError::TooMuch);
        }
        Ok(())
    }

    fn parse(body: RawBody, errors: &mut ValidationErrors) -> Option<Self> {
        let mut requested = Vec::new();
        for (key, names) in &body.object(errors)? {
            let job = python::python_int(key).and_then(|number| i64::try_from(number).ok());
            if job.is_none() {
                errors.add(
                    "int_parsing",
                    &["body", key],
                    "Key should be a job's number",
                );
            }
            let names = read_names(key, names, errors);
            requested.extend(job.zip(names));
            if errors.is_full() {
                return None;
            }
        }
        Some(Self(requested))
    }
}

fn read_names(key: &str, names: &Value, errors: &mut ValidationErrors) -> Option<Vec<String>> {
    let Value::Array(names) = names else {
        let message = "Input should be a valid list";
        errors.add("list_type", &["body", key], message);
        return None;
    };
    let names: Option<Vec<String>> = names
        .iter()
        .map(|name| name.as_str().map(str::to_owned))
        .collect();
    if names.is_none() {
        let message = "Input should be a list of valid strings";
        errors.add("string_type", &["body", key], message);
    }
    names
}

impl RequestedFiles {
    /// The ids of the jobs, in order.
    pub(super) fn jobs(&self) -> Vec<i64> {
        self.0.iter().map(|(job, _)| *job).collect()
    }

    /// The requested files in their folders.
    pub(super) fn requests(self, folders: &HashMap<i64, Option<Arc<Folder>>>) -> Vec<Request> {
        let of_job = |(job, names): (i64, Vec<String>)| {
            let folder = folders.get(&job).cloned().flatten();
            names.into_iter().map(move |name| Request {
                job,
                folder: folder.clone(),
                name,
            })
        };
        self.0.into_iter().flat_map(of_job).collect()
    }
}
