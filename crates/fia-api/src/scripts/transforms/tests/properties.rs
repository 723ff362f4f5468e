//! Properties of all transforms, for generated scripts.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{edit, mari};
use crate::model::python;

/// Inputs valid for all of these transforms, without line breaks.
fn inputs() -> Value {
    mari(json!({
        "mask_file_link": "m", "input_runs": [1, 2], "calibration_run_numbers": "3",
        "cycle_string": "c", "analyser": "a", "reflection": "r", "spectroscopy_reduction": "true",
        "diffraction_reduction": "false", "user_file": "u", "scatter_number": 1,
        "sample_geometry": "Disc", "phi_limits": [[0, 30]], "ip_file": "i", "empty_runs": "e",
        "images_dir": "d", "ngem_path": "/n/IMAT_2026_01/x", "ngem": "true", "recon": "true"
    }))
}

/// Generates scripts of lines that match rules and of random lines.
fn scripts() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "runno = 1",
        "ei = 'auto'",
        "mask = \"url_to_mask_file.xml\"",
        "cycle = \"x\"",
        "input_runs = [\"25240\", \"25241\"]",
        "cycle = \"cycle_19_4\"",
        "reflection = \"1\"",
        "spectroscopy_reduction = True",
        "user_file = \"/extras/loq/MaskFile.toml\"",
        "sample_scatter_monitor = 7",
        "phi_limits_list = []",
        "ip = 1",
        "ipython",
        "ngem = 1",
        "output = []",
        "from __future__ import x",
        "",
        "    indented = 1",
    ]);
    let line = prop_oneof![known.prop_map(str::to_owned), "[ -~]{0,12}"];
    prop::collection::vec(
        (line, prop::sample::select(vec!["\n", "\r\n", "\u{2028}"])),
        0..12,
    )
    .prop_map(|lines| lines.into_iter().map(|(line, end)| line + end).collect())
}

proptest! {
    /// Lines are replaced one by one.
    #[test]
    fn no_line_is_added_or_lost(script in scripts()) {
        let lines = python::split_lines(&script).count();
        // Lines are joined by line feeds, without a trailing one.
        let joined = lines.saturating_sub(1);
        for instrument in ["mari", "tosca", "osiris", "iris", "loq", "sans2d", "vesuvio", "imat"] {
            let edited = edit(instrument, &script, inputs()).unwrap();
            prop_assert_eq!(edited.matches('\n').count(), joined, "{}", instrument);
        }
    }

    /// Edits are idempotent (except for TOSCA and ENGIN-X, which match the text they replace).
    #[test]
    fn editing_twice_is_editing_once(script in scripts()) {
        for instrument in ["mari", "osiris", "iris", "loq", "sans2d", "vesuvio", "imat"] {
            let script = script.clone() + "# end";
            let once = edit(instrument, &script, inputs()).unwrap();
            prop_assert_eq!(edit(instrument, &once, inputs()).unwrap(), once, "{}", instrument);
        }
    }
}
