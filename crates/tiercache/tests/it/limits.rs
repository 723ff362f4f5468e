//! Every test has a time limit, and every wait of a test has one and a name (crate `limited`).

use std::collections::BTreeMap;
use std::path::Path;

use crate::layering::modules;

/// What has no limit or no name, each with what to use instead. The words are split: this file has none.
const UNLIMITED: [(&str, &str); 5] = [
    (concat!("#[", "test]"), "#[limited::test]"),
    (concat!("#[tokio", "::test"), "#[limited::test]"),
    (concat!("time", "::timeout("), "limited::within"),
    (
        concat!(".wait_for", "_tracking()"),
        "support::wait_for_tracking",
    ),
    (
        concat!(".wait_for", "_shared_level("),
        "support::wait_for_shared_level",
    ),
];

/// Unit tests without a runtime only compute.
const UNLIMITED_IN_UNIT_TESTS: [(&str, &str); 1] = [UNLIMITED[1]];

fn check(directory: &str, unlimited: &[(&str, &str)]) -> Vec<String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let mut sources = BTreeMap::new();
    modules(&directory, "", &mut sources);
    assert!(sources.len() > 30, "{:?}", sources.keys());
    sources.remove("support::wait");
    let mut found = Vec::new();
    for (module, source) in &sources {
        for (number, line) in source.lines().enumerate() {
            for (word, instead) in unlimited.iter().filter(|(word, _)| line.contains(word)) {
                found.push(format!("{module}:{}: {word}: use {instead}", number + 1));
            }
        }
    }
    found
}

#[limited::test]
fn every_test_and_every_wait_has_a_limit() {
    let mut found = check("tests/it", &UNLIMITED);
    found.extend(check("src", &UNLIMITED_IN_UNIT_TESTS));
    assert!(found.is_empty(), "{found:#?}");
}
