//! A job, a reduction of a run's data, as clients see it.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::model::{InstrumentName, Timestamp};

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// It gave a result.
    Successful,
    /// It ran and gave none.
    Unsuccessful,
    /// It failed.
    Error,
    /// It waits for a runner, or runs.
    NotStarted,
}

impl JobState {
    const ALL: [Self; 4] = [
        Self::Successful,
        Self::Unsuccessful,
        Self::Error,
        Self::NotStarted,
    ];

    /// The state of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Its name in the database and on the wire.
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

/// A job in an answer. The fields stand in the order of the wire, and none is ever left out but
/// the run, which some answers do not have.
#[derive(Debug, Serialize)]
pub struct Job<'a> {
    /// Number of the job.
    pub id: i32,
    /// When its runner started.
    pub start: Option<Timestamp>,
    /// When its runner ended.
    pub end: Option<Timestamp>,
    /// Name of the [`JobState`].
    pub state: &'a str,
    /// What the runner says about the state.
    pub status_message: Option<&'a str>,
    /// What the script was given.
    pub inputs: Box<RawValue>,
    /// The files that came out, as the runner lists them.
    pub outputs: Option<&'a str>,
    /// Where the script failed.
    pub stacktrace: Option<&'a str>,
    /// What was run.
    pub script: Option<ScriptText>,
    /// Image of the container that ran it.
    pub runner_image: Option<&'a str>,
    /// `JobType.` and the name of the type.
    #[serde(rename = "type")]
    pub job_type: &'a str,
    /// The run; the outer `None` leaves the field out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<Option<Run<'a>>>,
}

/// A script without its token lines.
#[derive(Debug, Serialize)]
pub struct ScriptText {
    /// The text.
    pub value: String,
}

/// A run of an instrument, the measurement behind a job.
#[derive(Debug, Serialize)]
pub struct Run<'a> {
    /// Its data file.
    pub filename: &'a str,
    /// The experiment (RB) number of its owner.
    pub experiment_number: Option<i32>,
    /// Its title.
    pub title: &'a str,
    /// Who measured.
    pub users: &'a str,
    /// When it started.
    pub run_start: Timestamp,
    /// When it ended.
    pub run_end: Timestamp,
    /// Frames that were recorded and are good.
    pub good_frames: i32,
    /// Frames that were recorded.
    pub raw_frames: i32,
    /// Its instrument.
    pub instrument_name: &'a str,
}

/// Whom a job belongs to: an experiment, or a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The experiment (RB) number.
    pub experiment_number: Option<i32>,
    /// The user number.
    pub user_number: Option<i32>,
}

/// What says where a job's files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobOrigin {
    /// Whom it belongs to.
    pub owner: Owner,
    /// Its own instrument, which may be another than the run's.
    pub instrument: Option<InstrumentName>,
    /// Whether it is a script by itself, without a run.
    pub is_simple: bool,
}

/// What a client may change of a job; `None` leaves a field as it is.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct JobChanges {
    /// The state.
    pub state: Option<JobState>,
    /// What the runner says about it.
    pub status_message: Option<String>,
    /// The files that came out.
    pub outputs: Option<String>,
    /// Where the script failed.
    pub stacktrace: Option<String>,
    /// When the runner started.
    pub start: Option<Timestamp>,
    /// When the runner ended.
    pub end: Option<Timestamp>,
}
