//! The inputs of requests for files.

use std::borrow::Cow;

use crate::extract::{FromInput, Input, Query, ValidationErrors};

/// The path parameter `{experiment_number}`.
pub(in crate::routes) struct ExperimentNumber(pub(super) i64);

impl FromInput for ExperimentNumber {
    fn parse(input: &Input, errors: &mut ValidationErrors) -> Option<Self> {
        input.path_integer("experiment_number", errors).map(Self)
    }
}

/// The path parameter `{user_number}`.
pub(in crate::routes) struct UserNumber(pub(super) i64);

impl FromInput for UserNumber {
    fn parse(input: &Input, errors: &mut ValidationErrors) -> Option<Self> {
        input.path_integer("user_number", errors).map(Self)
    }
}

/// The file to find: the query parameter `filename`.
pub(in crate::routes) struct FileQuery(pub(super) String);

impl FromInput for FileQuery {
    fn parse(input: &Input, errors: &mut ValidationErrors) -> Option<Self> {
        let name = Query::of(input, errors).text("filename");
        let name = name.map(Cow::into_owned);
        if name.is_none() {
            errors.add("missing", &["query", "filename"], "Field required");
        }
        name.map(Self)
    }
}

/// The path parameters `{job_id}` and `{filename}`.
pub(in crate::routes) struct JobFile {
    pub(super) job: i64,
    pub(super) name: String,
}

impl FromInput for JobFile {
    fn parse(input: &Input, errors: &mut ValidationErrors) -> Option<Self> {
        Some(Self {
            job: input.path_integer("job_id", errors)?,
            name: input.path("filename").to_owned(),
        })
    }
}
