//! OSIRIS.

use super::{BadInput, Inputs, edit_lines, iris, python_bool};

/// Line prefixes and inputs of the reductions; the trailing space of one is part of the rule.
const REDUCTIONS: [(&str, &str); 2] = [
    ("spectroscopy_reduction =", "spectroscopy_reduction"),
    ("diffraction_reduction = ", "diffraction_reduction"),
];

pub(super) fn edit(script: &str, inputs: &Inputs<'_>) -> Result<String, BadInput> {
    edit_lines(script, |line| {
        if let Some(edited) = iris::edit_line(line, inputs)? {
            return Ok(Some(edited));
        }
        for (prefix, key) in REDUCTIONS {
            if line.starts_with(prefix) {
                inputs.need(key)?;
                return Ok(Some(format!(
                    "{key} = {}",
                    python_bool(inputs.is_true_text(key))
                )));
            }
        }
        Ok(None)
    })
}
