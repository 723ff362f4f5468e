//! ENGIN-X.

use super::{BadInput, Inputs, edit_lines};

/// Lines that contain the first text anywhere are set to the input named by the second.
const PARAMETERS: [(&str, &str); 4] = [
    ("ceria_path =", "ceria_path"),
    ("vanadium_path =", "vanadium_path"),
    ("focus_path =", "focus_path"),
    ("group =", GROUP),
];

/// The only parameter that is not a path.
const GROUP: &str = "group";

/// Edits a script. An input is required only if the script has a line for it.
pub(super) fn edit(script: &str, inputs: &Inputs<'_>) -> Result<String, BadInput> {
    edit_lines(script, |line| {
        for (test, key) in PARAMETERS {
            if line.contains(test) {
                let value = inputs.text(key)?;
                let literal = match key {
                    GROUP => format!(r#" GROUP["{value}"]"#),
                    _ => format!("'{value}'"),
                };
                return Ok(Some(set(line, &literal)));
            }
        }
        Ok(None)
    })
}

/// Replaces the text between the first `=` and the next, and its other occurrences in the line.
fn set(line: &str, literal: &str) -> String {
    let old = line.split('=').nth(1).unwrap_or_default();
    line.replace(old, literal)
}
