//! An instrument's script, made ready for one run: lines that hold its parameters are
//! replaced with the inputs of the job.
//!
//! Each instrument has a pure function in a file of its own. To add one, write that file and
//! name it in [`TRANSFORMS`]. The scripts are written to these rules, oddities included, so
//! they are kept exactly: values stand as Python prints them, most tests look at the beginning
//! of a line, and the first rule that fits a line is the only one.

mod enginx;
mod imat;
mod inputs;
mod iris;
mod mantid;
mod mari;
mod osiris;
mod sans;
mod test;
#[cfg(test)]
mod tests;
mod tosca;
mod vesuvio;

pub use inputs::{BadInput, Inputs};

use crate::model::python;

/// Edits a script for a job's inputs.
type Edit = fn(&str, &Inputs<'_>) -> Result<String, BadInput>;

/// An instrument's way from its script as it stands on GitHub to the script of a job.
#[derive(Debug, Clone, Copy)]
pub struct Transform {
    /// The instrument's name in lower case.
    instrument: &'static str,
    edit: Edit,
    /// Whether the script runs in Mantid, which wants settings of its own at the beginning.
    in_mantid: bool,
}

/// Every instrument that has a transform.
#[rustfmt::skip]
const TRANSFORMS: &[Transform] = &[
    Transform { instrument: "enginx", edit: enginx::edit, in_mantid: true },
    Transform { instrument: "imat", edit: imat::edit, in_mantid: false },
    Transform { instrument: "iris", edit: iris::edit, in_mantid: true },
    Transform { instrument: "loq", edit: sans::edit_loq, in_mantid: true },
    Transform { instrument: "mari", edit: mari::edit, in_mantid: true },
    Transform { instrument: "osiris", edit: osiris::edit, in_mantid: true },
    Transform { instrument: "sans2d", edit: sans::edit_sans2d, in_mantid: true },
    Transform { instrument: "test", edit: test::edit, in_mantid: true },
    Transform { instrument: "tosca", edit: tosca::edit, in_mantid: true },
    Transform { instrument: "vesuvio", edit: vesuvio::edit, in_mantid: true },
];

/// What every script ends with: it prints where its results are.
const FOOTER: &str = "\nimport json\n\nprint(json.dumps({'status': 'Successful', \
     'status_message':'','output_files': output, 'stacktrace': ''}))\n";

impl Transform {
    /// The transform of an instrument, named in any case.
    #[must_use]
    pub fn of(instrument: &str) -> Option<Self> {
        let name = instrument.to_lowercase();
        TRANSFORMS
            .iter()
            .find(|known| known.instrument == name)
            .copied()
    }

    /// Every transform.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        TRANSFORMS.iter().copied()
    }

    /// The instrument's name as its folder on GitHub has it.
    #[must_use]
    pub fn folder(&self) -> String {
        self.instrument.to_uppercase()
    }

    /// The script of a job. `github_token` is pasted into scripts that run in Mantid.
    ///
    /// # Errors
    /// When an input is missing or of a form that the script cannot take.
    pub fn apply(
        &self,
        script: &str,
        inputs: &Inputs<'_>,
        github_token: &str,
    ) -> Result<String, BadInput> {
        let mut script = (self.edit)(script, inputs)?;
        if self.in_mantid {
            script = mantid::with_settings(&script, github_token);
        }
        Ok(script + FOOTER)
    }
}

/// Replaces the lines of a script for which `edit` has something else. A line break at the end
/// is lost, as everywhere in these transforms.
fn edit_lines(
    script: &str,
    mut edit: impl FnMut(&str) -> Result<Option<String>, BadInput>,
) -> Result<String, BadInput> {
    let mut edited = String::with_capacity(script.len());
    for (i, line) in python::split_lines(script).enumerate() {
        if i > 0 {
            edited.push('\n');
        }
        match edit(line)? {
            Some(other) => edited.push_str(&other),
            None => edited.push_str(line),
        }
    }
    Ok(edited)
}

/// Python's literal for an input that says `"true"`; anything else is not true.
fn truth(says_true: bool) -> &'static str {
    if says_true { "True" } else { "False" }
}
