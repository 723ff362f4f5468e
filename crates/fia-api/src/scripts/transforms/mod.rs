//! Transforms: an instrument's script, adapted to one job by replacing the lines that set its
//! parameters.
//!
//! Each instrument has a pure function in a file of its own. To add one, write that file and list
//! it in [`TRANSFORMS`]. Existing scripts rely on the exact rules, oddities included: values are
//! formatted as by Python, most rules test the beginning of a line, and only the first matching
//! rule applies to a line.

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

/// A function that edits a script for a job's inputs.
type Edit = fn(&str, &Inputs<'_>) -> Result<String, BadInput>;

/// The conversion of an instrument's script on GitHub into the script of a job.
#[derive(Debug, Clone, Copy)]
pub struct Transform {
    /// The instrument's name in lower case.
    instrument: &'static str,
    edit: Edit,
    /// Whether the script runs in Mantid, which needs settings at the beginning.
    in_mantid: bool,
}

/// The transforms, sorted by instrument.
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

/// The end of every script: it prints the paths of its results.
const FOOTER: &str = "\nimport json\n\nprint(json.dumps({'status': 'Successful', \
     'status_message':'','output_files': output, 'stacktrace': ''}))\n";

impl Transform {
    /// Returns the transform of an instrument; names are case-insensitive.
    #[must_use]
    pub fn of(instrument: &str) -> Option<Self> {
        let name = instrument.to_lowercase();
        TRANSFORMS
            .iter()
            .find(|known| known.instrument == name)
            .copied()
    }

    /// Returns all transforms.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        TRANSFORMS.iter().copied()
    }

    /// Returns the name of the instrument's folder on GitHub.
    #[must_use]
    pub fn folder(&self) -> String {
        self.instrument.to_uppercase()
    }

    /// Generates the script of a job. `github_token` is inserted into scripts that run in Mantid.
    ///
    /// # Errors
    /// When an input is missing or invalid.
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

/// Replaces the lines of a script for which `edit` returns another. A trailing line break is
/// removed, as by all transforms.
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

/// Returns Python's literal of a boolean.
fn python_bool(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}
