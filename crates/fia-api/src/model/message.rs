//! Messages to the consumers that run jobs, byte for byte in the form that they parse.

use serde_json::json;

use crate::model::dumps::dumps;
use crate::model::input::request_body;
use crate::model::python;

/// The queue of run-detection, whose messages are the names of new files.
const WATCHED_FILES: &str = "watched-files";

/// A message and its queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The name of the exchange and of its only queue.
    pub queue: String,
    /// The body.
    pub body: String,
}

request_body! {
    /// A script and the container image that runs it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Program {
        /// The container image.
        runner_image: String,
        /// The text of the script.
        script: String,
    }
}

/// The run of a job, in the job's message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunData {
    /// The path of the data file.
    pub filename: String,
    /// The experiment (RB) number of its owner.
    pub rb_number: Option<i32>,
    /// The name of the instrument.
    pub instrument: String,
}

impl Message {
    /// Requests the execution of a script without a run.
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

    /// Requests another reduction of a run.
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

    /// The id of the job that the message announces, if any.
    #[must_use]
    pub fn job_id(&self) -> Option<i64> {
        #[derive(serde::Deserialize)]
        struct Announcement {
            job_id: i64,
        }
        let announcement = serde_json::from_str::<Announcement>(&self.body).ok()?;
        Some(announcement.job_id)
    }

    /// Publishes a file as if it had just been measured.
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
    fn the_message_of_a_simple_job_has_the_form_that_its_consumer_parses() {
        assert_eq!(
            Message::simple("scheduled-jobs", 7, &program(), -1).body,
            r#"{"runner_image": "img@sha256:1", "script": "print(\"\u00fc\")\n", "job_type": "simple", "experiment_number": null, "user_number": -1, "job_id": 7}"#
        );
    }

    #[test]
    fn the_message_of_a_rerun_has_the_form_that_its_consumer_parses() {
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
