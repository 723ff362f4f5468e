//! Imports point down: a module uses only lower layers.
//!
//! The compiler lets any module of a crate use any other. This test keeps the order in
//! `src/lib.rs`. It reads source text, and so rejects the two spellings that it cannot
//! follow.
use std::{fs, path::Path};

/// Lowest layer first.
const LAYERS: &[&[&str]] = &[
    &["model", "observe"],
    &["config"],
    &["broker", "store", "upstream", "files", "streams", "traces"],
    &["cached", "scripts"],
    &["error"],
    &["auth"],
    &["admission"],
    &["ops"],
    &["state"],
    &["extract"],
    &["routes"],
    &["app"],
    &["operator"],
];

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|names| names.contains(&module))
}

fn check(dir: &Path, owner: Option<&str>, found: &mut Vec<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let owner = owner.unwrap_or(stem);
        if path.is_dir() {
            check(&path, Some(owner), found);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && !matches!(owner, "lib" | "main")
        {
            check_file(&path, owner, found);
        }
    }
}

fn check_file(path: &Path, owner: &str, found: &mut Vec<String>) {
    let Some(from) = layer(owner) else {
        found.push(format!("{}: module `{owner}` has no layer", path.display()));
        return;
    };
    for (number, line) in fs::read_to_string(path).unwrap().lines().enumerate() {
        let place = format!("{}:{}", path.display(), number + 1);
        let code = line.split("//").next().unwrap_or_default();
        if code.contains("crate::{") || code.contains("super::super") {
            found.push(format!(
                "{place}: write one plain `use crate::module::...` per line"
            ));
        }
        for rest in code.split("crate::").skip(1) {
            let name = rest
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .next()
                .unwrap_or_default();
            if name != owner && layer(name).is_some_and(|to| to >= from) {
                found.push(format!("{place}: `{owner}` must not use `{name}`"));
            }
        }
    }
}

#[test]
fn imports_point_down() {
    let mut found = Vec::new();
    check(
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")),
        None,
        &mut found,
    );
    assert!(found.is_empty(), "{}", found.join("\n"));
}
