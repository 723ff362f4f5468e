//! IRIS, whose rules OSIRIS shares.

use serde_json::Value;

use super::{BadInput, Inputs, edit_lines};
use crate::model::python;

pub(super) fn edit(script: &str, inputs: &Inputs<'_>) -> Result<String, BadInput> {
    edit_lines(script, |line| edit_line(line, inputs))
}

/// The rules of the indirect spectrometers for one line.
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

/// What Python can iterate over stands as it is, a string bare; anything else in a list.
fn input_runs(runs: &Value) -> String {
    let text = python::python_str(runs);
    match runs {
        Value::Array(_) | Value::String(_) | Value::Object(_) => text,
        Value::Null | Value::Bool(_) | Value::Number(_) => format!("[{text}]"),
    }
}
