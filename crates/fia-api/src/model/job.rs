//! Jobs, reductions of a run's data, in the form of responses.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::model::{InstrumentName, Timestamp};

/// The state of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// It produced a result.
    Successful,
    /// It ran and produced none.
    Unsuccessful,
    /// It failed.
    Error,
    /// It waits for a runner, or is running.
    NotStarted,
}

impl JobState {
    const ALL: [Self; 4] = [
        Self::Successful,
        Self::Unsuccessful,
        Self::Error,
        Self::NotStarted,
    ];

    /// Parses the name of a state.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// The name in the database and on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Successful => "SUCCESSFUL",
            Self::Unsuccessful => "UNSUCCESSFUL",
            Self::Error => "ERROR",
            Self::NotStarted => "NOT_STARTED",
        }
    }
}

/// A job in a response. The fields are in the order of the wire; none but the run is ever
/// omitted.
#[derive(Debug, Serialize)]
pub struct Job<'a> {
    /// The id.
    pub id: i32,
    /// The start of its runner.
    pub start: Option<Timestamp>,
    /// The end of its runner.
    pub end: Option<Timestamp>,
    /// The name of the [`JobState`].
    pub state: &'a str,
    /// The runner's message about the state.
    pub status_message: Option<&'a str>,
    /// The inputs of the script.
    pub inputs: Box<RawValue>,
    /// The output files, as listed by the runner.
    pub outputs: Option<&'a str>,
    /// The stack trace of a failed script.
    pub stacktrace: Option<&'a str>,
    /// The script.
    pub script: Option<ScriptText<'a>>,
    /// The container image that runs it.
    pub runner_image: Option<&'a str>,
    /// The type, prefixed with `JobType.`.
    #[serde(rename = "type")]
    pub job_type: &'a str,
    /// The run; the outer `None` omits the field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<Option<Run<'a>>>,
}

/// A script without its token lines.
#[derive(Debug, Serialize)]
pub struct ScriptText<'a> {
    /// The text.
    pub value: Cow<'a, str>,
}

/// A run of an instrument, the measurement behind a job.
#[derive(Debug, Serialize)]
pub struct Run<'a> {
    /// The data file.
    pub filename: &'a str,
    /// The experiment (RB) number of its owner.
    pub experiment_number: Option<i32>,
    /// The title.
    pub title: &'a str,
    /// The experimenters.
    pub users: &'a str,
    /// The start of the measurement.
    pub run_start: Timestamp,
    /// The end of the measurement.
    pub run_end: Timestamp,
    /// Good frames among those recorded.
    pub good_frames: i32,
    /// Frames recorded.
    pub raw_frames: i32,
    /// The name of the instrument.
    pub instrument_name: &'a str,
}

/// The owner of a job: an experiment or a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The experiment (RB) number.
    pub experiment_number: Option<i32>,
    /// The user number.
    pub user_number: Option<i32>,
}

/// The properties of a job that its folder is derived from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobOrigin {
    /// The owner.
    pub owner: Owner,
    /// The job's own instrument, which may differ from the run's.
    pub instrument: Option<InstrumentName>,
    /// True for a script without a run.
    pub is_simple: bool,
}
