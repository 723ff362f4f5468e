//! Corner cases inherited from the legacy server. The recorded cases `auto.*` hold whole scripts.

mod properties;

use serde_json::{Map, Value, json};

use super::{BadInput, FOOTER, Inputs, TRANSFORMS, Transform};

fn map(inputs: Value) -> Map<String, Value> {
    match inputs {
        Value::Object(map) => map,
        other => panic!("{other} is not an object"),
    }
}

/// Edits a script, without the parts common to all scripts.
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
fn instrument_names_are_case_insensitive() {
    assert_eq!(Transform::of("MaRi").unwrap().folder(), "MARI");
    assert!(Transform::of("let").is_none());
    assert!(TRANSFORMS.is_sorted_by_key(|transform| transform.instrument));
}

#[test]
fn scripts_end_with_the_footer_and_mantid_scripts_begin_with_settings() {
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
fn values_are_formatted_as_by_python() {
    let script = "sam_rmm = 0\nei = 0\nremove_bkg_too = 0\nwbvan";
    let edited = edit("mari", script, mari(json!({"ei": [1, "a"], "wbvan": null})));
    assert_eq!(
        edited.unwrap(),
        "sam_rmm = 1e-07\nei = [1, 'a']\nremove_bkg = True\nwbvan = None"
    );
}

#[test]
fn maris_mask_file_is_the_first_rule_and_the_only_optional_input() {
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
fn tosca_accepts_any_iterable() {
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
fn vesuvio_formats_ranges_and_lists_of_runs() {
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
fn enginx_replaces_every_occurrence_in_the_line() {
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
fn imats_output_is_beside_the_folder_of_the_cycle() {
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
fn test_leaves_the_line_after_a_print_unchanged() {
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
