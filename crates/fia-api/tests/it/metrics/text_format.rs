//! A strict parser of the text format 0.0.4.

use std::collections::{BTreeMap, BTreeSet};

/// A scrape: samples as written, with their values.
pub(crate) type Scrape = BTreeMap<String, f64>;

fn is_name(name: &str) -> bool {
    let mut letters = name.chars();
    let first = letters.next().unwrap_or(' ');
    let follows = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !first.is_ascii_digit() && follows(first) && letters.all(follows)
}

/// Parses the text format 0.0.4 strictly: each family has one HELP, one TYPE and then its
/// samples, none twice; a counter's name ends in `_total`.
pub(super) fn parse(text: &str) -> Scrape {
    assert!(text.ends_with('\n'));
    let mut samples = Scrape::new();
    let (mut families, mut helped) = (BTreeSet::new(), BTreeSet::new());
    let (mut family, mut kind) = (String::new(), String::new());
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, meaning) = help.split_once(' ').unwrap();
            assert!(is_name(name) && !meaning.is_empty(), "{line}");
            assert!(helped.insert(name.to_owned()), "{line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, its_kind) = rest.split_once(' ').unwrap();
            assert!(
                ["counter", "gauge", "histogram"].contains(&its_kind),
                "{line}"
            );
            assert_eq!(its_kind == "counter", name.ends_with("_total"), "{line}");
            assert!(helped.contains(name), "no HELP: {line}");
            assert!(families.insert(name.to_owned()), "twice: {line}");
            (family, kind) = (name.to_owned(), its_kind.to_owned());
        } else {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = match sample.split_once('{') {
                None => (sample, ""),
                Some((name, labels)) => (name, labels.strip_suffix('}').unwrap()),
            };
            let part = name
                .strip_prefix(&family)
                .unwrap_or_else(|| panic!("{line}"));
            let parts = ["_bucket", "_sum", "_count"];
            assert_eq!(parts.contains(&part), kind == "histogram", "{line}");
            assert!(part.is_empty() || kind == "histogram", "{line}");
            for label in labels.split(',').filter(|label| !label.is_empty()) {
                let (key, value) = label.split_once('=').unwrap();
                assert!(is_name(key), "{line}");
                let value = value.strip_prefix('"').unwrap().strip_suffix('"').unwrap();
                assert!(!value.contains(['"', '\\', '\n']), "{line}");
            }
            let value: f64 = value.parse().unwrap();
            assert!(value.is_finite() && value >= 0.0, "{line}");
            assert!(samples.insert(sample.to_owned(), value).is_none(), "{line}");
        }
    }
    samples
}
