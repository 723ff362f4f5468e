//! MARI.

use super::{BadInput, Inputs, edit_lines};

/// The placeholder of the mask file's URL.
const MASK_FILE: &str = "url_to_mask_file.xml";

/// Parameters, each set on lines that begin with its name. The first match in this order applies.
const PARAMETERS: [&str; 9] = [
    "runno",
    "sum_runs",
    "ei",
    "wbvan",
    "monovan",
    "sam_mass",
    "sam_rmm",
    "git_sha",
    "remove_bkg",
];

/// Edits a script. All inputs but the mask file's are required, used or not.
pub(super) fn edit(script: &str, inputs: &Inputs<'_>) -> Result<String, BadInput> {
    for parameter in PARAMETERS {
        inputs.need(parameter)?;
    }
    edit_lines(script, |line| {
        if line.contains(MASK_FILE) && inputs.get("mask_file_link").is_some() {
            let link = inputs.text("mask_file_link")?;
            return Ok(Some(line.replace(MASK_FILE, &link)));
        }
        for parameter in PARAMETERS {
            if line.starts_with(parameter) {
                return Ok(Some(format!("{parameter} = {}", inputs.text(parameter)?)));
            }
        }
        Ok(None)
    })
}
