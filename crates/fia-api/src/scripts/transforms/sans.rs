//! The small-angle instruments: LOQ and SANS2D.

use super::{BadInput, Inputs, edit_lines};

/// Parameters, and the inputs they are set to.
const PARAMETERS: [(&str, &str); 12] = [
    ("sample_scatter", "scatter_number"),
    ("sample_transmission", "scatter_transmission_number"),
    ("sample_direct", "scatter_direct_number"),
    ("can_scatter", "can_scatter"),
    ("can_transmission", "can_transmission"),
    ("can_direct", "can_direct"),
    ("sample_thickness", "sample_thickness"),
    (GEOMETRY, "sample_geometry"),
    ("sample_height", "sample_height"),
    ("sample_width", "sample_width"),
    ("slice_wavs", "slice_wavs"),
    ("phi_limits_list", "phi_limits"),
];

/// The only parameter that is a string.
const GEOMETRY: &str = "sample_geometry";

pub(super) fn edit_loq(script: &str, inputs: &Inputs<'_>) -> Result<String, BadInput> {
    edit(script, inputs, "/extras/loq/MaskFile.toml")
}

pub(super) fn edit_sans2d(script: &str, inputs: &Inputs<'_>) -> Result<String, BadInput> {
    edit(script, inputs, "/extras/sans2d/MaskFile.toml")
}

/// Edits a script. All inputs are optional: lines without an input stay unchanged.
fn edit(script: &str, inputs: &Inputs<'_>, mask_file: &str) -> Result<String, BadInput> {
    edit_lines(script, |line| {
        if line.contains(mask_file) && inputs.get("user_file").is_some() {
            let user_file = inputs.text("user_file")?;
            return Ok(Some(line.replace(mask_file, &user_file)));
        }
        for (parameter, key) in PARAMETERS {
            if line.starts_with(parameter) && inputs.get(key).is_some() {
                return Ok(Some(format!(
                    "{parameter} = {}",
                    literal(parameter, key, inputs)?
                )));
            }
        }
        Ok(None)
    })
}

fn literal(parameter: &str, key: &'static str, inputs: &Inputs<'_>) -> Result<String, BadInput> {
    if parameter != GEOMETRY {
        return inputs.text(key);
    }
    let geometry = inputs.need(key)?.as_str();
    let geometry = geometry.ok_or(BadInput::Form(GEOMETRY, "a string"))?;
    Ok(format!(r#""{geometry}""#))
}
