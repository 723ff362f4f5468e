//! Messages to the programs that run jobs, as those parse them: down to the byte.

use serde_json::json;

use crate::model::dumps::dumps;
use crate::model::python;

/// The queue whose consumer looks at files as if they had just been measured.
const WATCHED_FILES: &str = "watched-files";

/// A message, and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The name of the exchange and of the one queue behind it.
    pub queue: String,
    /// What the consumer gets.
    pub body: String,
}

/// What is to be run, and in which container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Image of the container.
    pub runner_image: String,
    /// The script.
    pub script: String,
}

/// The run whose data a job reduces, as the job's message names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunData {
    /// Its data file, with the path.
    pub filename: String,
    /// The experiment (RB) number that it belongs to.
    pub rb_number: Option<i32>,
    /// Name of the instrument.
    pub instrument: String,
}

impl Message {
    /// Asks for a script to be run that reduces no run's data.
    #[must_use]
    pub fn simple(queue: &str, job_id: i32, program: &Program, user_number: i32) -> Self {
        let body = dumps(&json!({
            "runner_image": program.runner_image,
            "script": program.script,
            "job_type": "simple",
            "experiment_number": null,
            "user_number": user_number,
            "job_id": job_id,
        }));
        Self {
            queue: queue.to_owned(),
            body,
        }
    }

    /// Asks for a run's data to be reduced once more.
    #[must_use]
    pub fn rerun(queue: &str, job_id: i32, program: &Program, run: &RunData) -> Self {
        let body = dumps(&json!({
            "filename": python::path_stem(&run.filename),
            "job_type": "rerun",
            "instrument": run.instrument,
            "rb_number": run.rb_number.unwrap_or(0),
            "job_id": job_id,
            "runner_image": program.runner_image,
            "script": program.script,
        }));
        Self {
            queue: queue.to_owned(),
            body,
        }
    }

    /// Asks for a file to be looked at as if it had just been measured.
    #[must_use]
    pub fn watch_file(filename: &str) -> Self {
        Self {
            queue: WATCHED_FILES.to_owned(),
            body: filename.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program() -> Program {
        Program {
            runner_image: "img@sha256:1".to_owned(),
            script: "print(\"ü\")\n".to_owned(),
        }
    }

    #[test]
    fn a_simple_job_is_announced_as_its_consumer_parses_it() {
        assert_eq!(
            Message::simple("scheduled-jobs", 7, &program(), -1).body,
            r#"{"runner_image": "img@sha256:1", "script": "print(\"\u00fc\")\n", "job_type": "simple", "experiment_number": null, "user_number": -1, "job_id": 7}"#
        );
    }

    #[test]
    fn a_rerun_is_announced_as_its_consumer_parses_it() {
        let run = RunData {
            filename: "/archive/MAR25581.nxs".to_owned(),
            rb_number: None,
            instrument: "MARI".to_owned(),
        };
        assert_eq!(
            Message::rerun("scheduled-jobs", 8, &program(), &run).body,
            r#"{"filename": "MAR25581", "job_type": "rerun", "instrument": "MARI", "rb_number": 0, "job_id": 8, "runner_image": "img@sha256:1", "script": "print(\"\u00fc\")\n"}"#
        );
    }
}
