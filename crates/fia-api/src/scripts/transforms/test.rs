//! TEST, a fictitious instrument for trials of deployments.

use super::{BadInput, Inputs};
use crate::model::python;

/// Removes each line that begins with `print`, and leaves the line after it unchanged: the tests of
/// the scripts rely on that.
pub(super) fn edit(script: &str, _: &Inputs<'_>) -> Result<String, BadInput> {
    let mut edited = vec!["# This line is inserted via test"];
    let mut lines = python::split_lines(script);
    while let Some(line) = lines.next() {
        if line.starts_with("print") {
            edited.extend(lines.next());
        } else if line.starts_with("x =") {
            edited.push("x = 22");
        } else {
            edited.push(line);
        }
    }
    Ok(edited.join("\n"))
}
