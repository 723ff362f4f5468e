//! IRIS; OSIRIS shares its rules.

use serde_json::Value;

use super::{BadInput, Inputs, edit_lines};
use crate::model::python;

pub(super) fn edit(script: &str, inputs: &Inputs<'_>) -> Result<String, BadInput> {
    edit_lines(script, |line| edit_line(line, inputs))
}

/// Edits one line by the rules of the indirect spectrometers.
pub(super) fn edit_line(line: &str, inputs: &Inputs<'_>) -> Result<Option<String>, BadInput> {
    let begins = |prefix| line.starts_with(prefix);
    let quoted = |parameter, key| Ok(Some(format!("{parameter} = \"{}\"", inputs.text(key)?)));
    if begins("input_runs") {
        let runs = input_runs(inputs.need("input_runs")?);
        Ok(Some(format!("input_runs = {runs}")))
    } else if begins("calibration_run_numbers =") {
        let runs = inputs.text("calibration_run_numbers")?;
        Ok(Some(format!("calibration_run_numbers = [{runs}]")))
    } else if begins("cycle =") {
        quoted("cycle", "cycle_string")
    } else if begins("analyser =") {
        quoted("analyser", "analyser")
    } else if begins("reflection = ") {
        quoted("reflection", "reflection")
    } else {
        Ok(None)
    }
}

/// Formats the runs: values that Python can iterate over unchanged, strings without quotes, others
/// in a list.
fn input_runs(runs: &Value) -> String {
    let text = python::python_str(runs);
    match runs {
        Value::Array(_) | Value::String(_) | Value::Object(_) => text,
        Value::Null | Value::Bool(_) | Value::Number(_) => format!("[{text}]"),
    }
}
