//! ENGIN-X.

use super::{BadInput, Inputs, edit_lines};

/// Lines that hold the first, wherever it stands, are set to the input of the second's name.
const PARAMETERS: [(&str, &str); 4] = [
    ("ceria_path =", "ceria_path"),
    ("vanadium_path =", "vanadium_path"),
    ("focus_path =", "focus_path"),
    ("group =", GROUP),
];

/// The one parameter that is not a path.
const GROUP: &str = "group";

/// An input is needed only where the script has a line for it.
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

/// Replaces what stands behind the first `=`, up to the next, wherever else it stands in the
/// line too.
fn set(line: &str, literal: &str) -> String {
    let old = line.split('=').nth(1).unwrap_or_default();
    line.replace(old, literal)
}
