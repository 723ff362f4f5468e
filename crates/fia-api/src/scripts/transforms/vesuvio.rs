//! VESUVIO.

use serde_json::{Number, Value};

use super::{BadInput, Inputs, edit_lines};
use crate::model::python;

/// Edits a script. Sets every line that begins with a parameter's name, so `ipython` by `ip`.
pub(super) fn edit(script: &str, inputs: &Inputs<'_>) -> Result<String, BadInput> {
    let ip_file = inputs.text("ip_file")?;
    let diff_ip_file = inputs.get("diff_ip_file").map(python::python_str);
    let diff_ip_file = diff_ip_file.filter(|name| !name.is_empty());
    let parameters = [
        ("ip", ip_file.clone()),
        ("diff_ip", diff_ip_file.unwrap_or(ip_file)),
        ("runno", runno(inputs.need("runno")?)?),
        ("empty_runs", inputs.text("empty_runs")?),
    ];
    edit_lines(script, |line| {
        let fitting = parameters.iter().find(|(name, _)| line.starts_with(name));
        Ok(fitting.map(|(name, value)| format!(r#"{name} = "{value}""#)))
    })
}

/// Formats consecutive runs as `first-last`, others separated by commas.
fn runno(runno: &Value) -> Result<String, BadInput> {
    let Value::Array(runs) = runno else {
        return Ok(python::python_str(runno));
    };
    match runs.as_slice() {
        [] => Err(BadInput::Form("runno", "a run or a list of runs")),
        [one] => Ok(python::python_str(one)),
        [first, .., last] => {
            let numbers: Option<Vec<&Number>> = runs.iter().map(Value::as_number).collect();
            let numbers = numbers.ok_or(BadInput::Form("runno", "a list of numbers"))?;
            if numbers
                .windows(2)
                .all(|pair| is_successor(pair[0], pair[1]))
            {
                return Ok(format!(
                    "{}-{}",
                    python::python_str(first),
                    python::python_str(last)
                ));
            }
            Ok(runs
                .iter()
                .map(python::python_str)
                .collect::<Vec<_>>()
                .join(","))
        }
    }
}

/// Whether `next` is `one` plus 1.
fn is_successor(one: &Number, next: &Number) -> bool {
    match (one.as_i64(), next.as_i64()) {
        (Some(one), Some(next)) => one.checked_add(1) == Some(next),
        _ => one.as_f64().map(|one| one + 1.0) == next.as_f64(),
    }
}
