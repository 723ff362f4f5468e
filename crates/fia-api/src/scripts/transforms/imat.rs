//! IMAT, whose scripts do not run in Mantid.

use std::path::Path;

use super::{BadInput, Inputs, edit_lines, python_bool};

/// The output folder unless the cameras' folder determines another.
const OUTPUT: &str = "/output";

pub(super) fn edit(script: &str, inputs: &Inputs<'_>) -> Result<String, BadInput> {
    let output = output(inputs)?;
    edit_lines(script, |line| {
        let begins = |prefix| line.starts_with(prefix);
        let set = |parameter, key: &'static str, quote| match inputs.get(key) {
            Some(_) => {
                let value = inputs.text(key)?;
                Ok(Some(format!("{parameter} = {quote}{value}{quote}")))
            }
            None => Ok(None),
        };
        let flag = |key| {
            Ok(Some(format!(
                "{key} = {}",
                python_bool(inputs.is_true_text(key))
            )))
        };
        if begins("runno =") {
            set("runno", "runno", "")
        } else if begins("dataset_path =") {
            set("dataset_path", "images_dir", "\"")
        } else if begins("ngem_path =") {
            set("ngem_path", "ngem_path", "\"")
        } else if begins("ngem =") {
            flag("ngem")
        } else if begins("recon =") {
            flag("recon")
        } else if begins("output =") {
            Ok(Some(format!(r#"output = "{output}""#)))
        } else {
            Ok(None)
        }
    })
}

/// Returns `…/IMAT_26_01_nxs`, beside the cycle's folder `…/IMAT_2026_01` in the path.
fn output(inputs: &Inputs<'_>) -> Result<String, BadInput> {
    let path = match inputs.get("ngem_path") {
        Some(path) if !inputs.dev_mode => path,
        _ => return Ok(OUTPUT.to_owned()),
    };
    let bad = BadInput::Form("ngem_path", "a path in a folder IMAT_YYYY_NN");
    let cycle_folder = Path::new(path.as_str().ok_or_else(|| bad.clone())?).parent();
    let parts = cycle_folder.and_then(|folder| {
        let name = folder.file_name()?.to_str()?;
        let [_, year, cycle] = name.split('_').collect::<Vec<_>>().try_into().ok()?;
        Some((folder.parent()?, year.get(2..)?, cycle))
    });
    let (above, year, cycle) = parts.ok_or(bad)?;
    Ok(above
        .join(format!("IMAT_{year}_{cycle}_nxs"))
        .display()
        .to_string())
}
