//! What the older server makes of scripts and inputs, oddities included. (The recorded cases
//! `auto.*` hold whole scripts; these are the corners.)

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{BadInput, FOOTER, Inputs, TRANSFORMS, Transform};
use crate::model::python;

fn map(inputs: Value) -> Map<String, Value> {
    match inputs {
        Value::Object(map) => map,
        other => panic!("{other} is no object"),
    }
}

/// The edited script, without what every script gets.
fn edit(instrument: &str, script: &str, inputs: Value) -> Result<String, BadInput> {
    let transform = Transform::of(instrument).unwrap();
    (transform.edit)(script, &Inputs::new(&map(inputs), false))
}

fn mari(changes: Value) -> Value {
    let mut inputs = map(json!({
        "runno": 1, "sum_runs": false, "ei": "auto", "wbvan": 2, "monovan": 0, "sam_mass": 1.5,
        "sam_rmm": 1e-7, "git_sha": "abc", "remove_bkg": true
    }));
    inputs.extend(map(changes));
    Value::Object(inputs)
}

#[test]
fn instruments_are_found_in_any_case() {
    assert_eq!(Transform::of("MaRi").unwrap().folder(), "MARI");
    assert!(Transform::of("let").is_none());
    assert!(TRANSFORMS.is_sorted_by_key(|transform| transform.instrument));
}

#[test]
fn every_script_ends_with_the_footer_and_those_for_mantid_begin_with_its_settings() {
    let script = "x = 1\nfrom __future__ import a\ny = 2\n";
    let of = |instrument| {
        let inputs = Map::new();
        let transform = Transform::of(instrument).unwrap();
        transform.apply(script, &Inputs::new(&inputs, false), "ghp_t")
    };
    assert_eq!(
        of("loq").unwrap(),
        "from __future__ import a\nfrom mantid.kernel import ConfigService\n\
         ConfigService.Instance()[\"network.github.api_token\"] = \"ghp_t\"\nx = 1\ny = 2"
            .to_owned()
            + FOOTER
    );
    assert_eq!(of("imat").unwrap(), script.trim_end().to_owned() + FOOTER);
}

#[test]
fn values_stand_as_python_prints_them() {
    let script = "sam_rmm = 0\nei = 0\nremove_bkg_too = 0\nwbvan";
    let edited = edit("mari", script, mari(json!({"ei": [1, "a"], "wbvan": null})));
    assert_eq!(
        edited.unwrap(),
        "sam_rmm = 1e-07\nei = [1, 'a']\nremove_bkg = True\nwbvan = None"
    );
}

#[test]
fn maris_mask_file_is_the_first_rule_and_the_only_input_to_leave_out() {
    let script = "runno = \"url_to_mask_file.xml\"\r\n\r\n";
    let with = edit("mari", script, mari(json!({"mask_file_link": "m"})));
    assert_eq!(with.unwrap(), "runno = \"m\"\n");
    assert_eq!(
        edit("mari", script, mari(json!({}))).unwrap(),
        "runno = 1\n"
    );
    let missing = edit("mari", "", json!({"runno": 1}));
    assert_eq!(missing, Err(BadInput::Missing("sum_runs")));
}

#[test]
fn tosca_iterates_over_whatever_it_is_given() {
    let script = "input_runs = [\"25240\", \"25241\"]";
    for (runs, literal) in [
        (json!([1, "2"]), r#"["1", "2"]"#),
        (json!("12"), r#"["1", "2"]"#),
        (json!({"a": 1}), r#"["a"]"#),
        (json!([]), "[]"),
    ] {
        let edited = edit("tosca", script, json!({"input_runs": runs}));
        assert_eq!(edited.unwrap(), format!("input_runs = {literal}"));
    }
    assert!(edit("tosca", script, json!({"input_runs": 1})).is_err());
    assert!(edit("tosca", script, json!({})).is_err());
    assert_eq!(
        edit("tosca", "input_runs = []", json!({})).unwrap(),
        "input_runs = []"
    );
}

#[test]
fn osiris_and_iris_put_a_single_run_in_a_list() {
    for instrument in ["osiris", "iris"] {
        for (runs, literal) in [
            (json!(5), "[5]"),
            (json!("5-6"), "5-6"),
            (json!(["5"]), "['5']"),
            (json!(null), "[None]"),
        ] {
            let edited = edit(instrument, "input_runs=", json!({"input_runs": runs}));
            assert_eq!(edited.unwrap(), format!("input_runs = {literal}"));
        }
    }
}

#[test]
fn only_the_text_true_is_true() {
    for (value, literal) in [
        (json!("true"), "True"),
        (json!(true), "False"),
        (json!("True"), "False"),
    ] {
        let inputs = json!({"spectroscopy_reduction": value, "ngem": value});
        let osiris = edit("osiris", "spectroscopy_reduction =x", inputs.clone());
        assert_eq!(
            osiris.unwrap(),
            format!("spectroscopy_reduction = {literal}")
        );
        assert_eq!(
            edit("imat", "ngem =", inputs).unwrap(),
            format!("ngem = {literal}")
        );
    }
    assert!(edit("osiris", "diffraction_reduction = ", json!({})).is_err());
    assert_eq!(
        edit("iris", "spectroscopy_reduction =", json!({})).unwrap(),
        "spectroscopy_reduction ="
    );
    assert_eq!(edit("imat", "recon =", json!({})).unwrap(), "recon = False");
}

#[test]
fn sans_leaves_lines_without_an_input_as_they_are() {
    let script = "sample_scatter_monitor = 7\nf(\"/extras/sans2d/MaskFile.toml\")\nslice_wavs = []";
    assert_eq!(edit("sans2d", script, json!({})).unwrap(), script);
    let inputs = json!({"scatter_number": 1, "user_file": "u", "slice_wavs": [1.0, 2]});
    assert_eq!(
        edit("sans2d", script, inputs.clone()).unwrap(),
        "sample_scatter = 1\nf(\"u\")\nslice_wavs = [1.0, 2]"
    );
    // Each instrument has a mask file of its own.
    let of_loq = edit("loq", script, inputs).unwrap();
    assert!(of_loq.contains("/extras/sans2d/MaskFile.toml"));
    assert!(edit("loq", "sample_geometry", json!({"sample_geometry": 1})).is_err());
}

#[test]
fn vesuvio_writes_ranges_and_lists_of_runs() {
    let runno = |runs: Value| {
        let inputs = json!({"ip_file": "a", "empty_runs": "e", "runno": runs});
        edit("vesuvio", "runno", inputs)
    };
    for (runs, text) in [
        (json!([5, 6, 7]), "5-7"),
        (json!([5, 7]), "5,7"),
        (json!([7, 6]), "7,6"),
        (json!(["9"]), "9"),
        (json!("5-6"), "5-6"),
        (json!(5), "5"),
    ] {
        assert_eq!(runno(runs).unwrap(), format!("runno = \"{text}\""));
    }
    assert!(runno(json!([])).is_err());
    assert!(runno(json!(["5", "6"])).is_err());
    let inputs = json!({"ip_file": "a", "empty_runs": "e", "runno": 1, "diff_ip_file": "d"});
    assert_eq!(
        edit("vesuvio", "ipython\ndiff_ip=", inputs).unwrap(),
        "ip = \"a\"\ndiff_ip = \"d\""
    );
}

#[test]
fn enginx_replaces_a_text_wherever_it_stands_in_the_line() {
    let set = |line| {
        edit(
            "enginx",
            line,
            json!({"ceria_path": "/c", "group": "North"}),
        )
        .unwrap()
    };
    assert_eq!(set("x.ceria_path = 1 = 1 "), "x.ceria_path ='/c'='/c'");
    assert_eq!(set("  group = A"), "  group = GROUP[\"North\"]");
    // Python's `replace` of an empty text.
    assert_eq!(
        set("group ="),
        " GROUP[\"North\"]".to_owned()
            + &"group ="
                .chars()
                .map(|c| format!("{c} GROUP[\"North\"]"))
                .collect::<String>()
    );
    assert!(edit("enginx", "focus_path = 1", json!({})).is_err());
}

#[test]
fn imats_output_goes_beside_the_folder_of_the_cycle() {
    let output = |path: Value| edit("imat", "output = 1", json!({"ngem_path": path}));
    assert_eq!(
        output(json!("/a/b/IMAT_2026_01/IMAT0001/")).unwrap(),
        "output = \"/a/b/IMAT_26_01_nxs\""
    );
    for bad in [
        json!("/a/IMAT_2026/x"),
        json!("/a_b_c"),
        json!(5),
        json!(""),
    ] {
        assert!(output(bad.clone()).is_err(), "{bad}");
    }
    assert_eq!(
        edit("imat", "output = 1", json!({})).unwrap(),
        "output = \"/output\""
    );
    let inputs = map(json!({"ngem_path": 5}));
    let developer = Inputs::new(&inputs, true);
    let edited = (Transform::of("imat").unwrap().edit)("output = 1\nngem_path =", &developer);
    assert_eq!(edited.unwrap(), "output = \"/output\"\nngem_path = \"5\"");
}

#[test]
fn test_skips_the_line_behind_one_that_prints() {
    let edited = edit(
        "test",
        "print 1\nprint 2\nprint 3\nx = 1\nx = 1\nx =1",
        json!({}),
    );
    assert_eq!(
        edited.unwrap(),
        "# This line is inserted via test\nprint 2\nx = 1\nx = 22\nx = 22"
    );
}

/// Inputs that each of these transforms takes, none of which holds a line break.
fn inputs() -> Value {
    mari(json!({
        "mask_file_link": "m", "input_runs": [1, 2], "calibration_run_numbers": "3",
        "cycle_string": "c", "analyser": "a", "reflection": "r", "spectroscopy_reduction": "true",
        "diffraction_reduction": "false", "user_file": "u", "scatter_number": 1,
        "sample_geometry": "Disc", "phi_limits": [[0, 30]], "ip_file": "i", "empty_runs": "e",
        "images_dir": "d", "ngem_path": "/n/IMAT_2026_01/x", "ngem": "true", "recon": "true"
    }))
}

/// Scripts of lines that the rules know, and others.
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
    /// Lines are replaced one for one.
    #[test]
    fn no_line_is_added_or_lost(script in scripts()) {
        let lines = python::split_lines(&script).count();
        // As lines joined by line feeds, without a last one.
        let joined = lines.saturating_sub(1);
        for instrument in ["mari", "tosca", "osiris", "iris", "loq", "sans2d", "vesuvio", "imat"] {
            let edited = edit(instrument, &script, inputs()).unwrap();
            prop_assert_eq!(edited.matches('\n').count(), joined, "{}", instrument);
        }
    }

    /// What was set is set to the same again. (TOSCA and ENGIN-X look for what they replace.)
    #[test]
    fn editing_twice_is_editing_once(script in scripts()) {
        for instrument in ["mari", "osiris", "iris", "loq", "sans2d", "vesuvio", "imat"] {
            let script = script.clone() + "# end";
            let once = edit(instrument, &script, inputs()).unwrap();
            prop_assert_eq!(edit(instrument, &once, inputs()).unwrap(), once, "{}", instrument);
        }
    }
}
