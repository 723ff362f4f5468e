//! What requests for files say.

use std::borrow::Cow;

use crate::extract::{FromInput, Input, Problems, Query};

/// The segment `{experiment_number}`.
pub(in crate::routes) struct ExperimentNumber(pub(super) i64);

impl FromInput for ExperimentNumber {
    fn read(input: &Input, problems: &mut Problems) -> Option<Self> {
        input.path_integer("experiment_number", problems).map(Self)
    }
}

/// The segment `{user_number}`.
pub(in crate::routes) struct UserNumber(pub(super) i64);

impl FromInput for UserNumber {
    fn read(input: &Input, problems: &mut Problems) -> Option<Self> {
        input.path_integer("user_number", problems).map(Self)
    }
}

/// The file that is looked for: `?filename=`.
pub(in crate::routes) struct Sought(pub(super) String);

impl FromInput for Sought {
    fn read(input: &Input, problems: &mut Problems) -> Option<Self> {
        let name = Query::of(input, problems).text("filename");
        let name = name.map(Cow::into_owned);
        if name.is_none() {
            problems.add("missing", &["query", "filename"], "Field required");
        }
        name.map(Self)
    }
}

/// The segments `{job_id}` and `{filename}`.
pub(in crate::routes) struct JobFile {
    pub(super) job: i64,
    pub(super) name: String,
}

impl FromInput for JobFile {
    fn read(input: &Input, problems: &mut Problems) -> Option<Self> {
        Some(Self {
            job: input.path_integer("job_id", problems)?,
            name: input.path("filename").to_owned(),
        })
    }
}
