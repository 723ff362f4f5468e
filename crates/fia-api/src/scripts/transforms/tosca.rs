//! TOSCA.

use serde_json::Value;

use super::{BadInput, Inputs, edit_lines};
use crate::model::python;

const INPUT_RUNS: &str = r#"input_runs = ["25240", "25241"]"#;
const CYCLE: &str = r#"cycle = "cycle_19_4""#;

/// Sets the runs on every line with the default runs, until the cycle is set.
pub(super) fn edit(script: &str, inputs: &Inputs<'_>) -> Result<String, BadInput> {
    let mut done = false;
    edit_lines(script, |line| match line {
        INPUT_RUNS if !done => Ok(Some(format!("input_runs = [{}]", quoted_runs(inputs)?))),
        CYCLE if !done => {
            done = true;
            let cycle = inputs.text("cycle_string")?;
            Ok(Some(format!(r#"cycle = "{cycle}""#)))
        }
        _ => Ok(None),
    })
}

/// Formats the items of any value that Python can iterate over: the keys of an object, the
/// characters of a string.
fn quoted_runs(inputs: &Inputs<'_>) -> Result<String, BadInput> {
    let items: Vec<String> = match inputs.need("input_runs")? {
        Value::Array(runs) => runs.iter().map(python::python_str).collect(),
        Value::String(text) => text.chars().map(String::from).collect(),
        Value::Object(fields) => fields.keys().cloned().collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            return Err(BadInput::Form("input_runs", "a list"));
        }
    };
    let quoted: Vec<String> = items.iter().map(|run| format!(r#""{run}""#)).collect();
    Ok(quoted.join(", "))
}
