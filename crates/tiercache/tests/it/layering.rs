//! Imports between the modules of the crate form no cycle: data flows in one direction.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The modules by name (`read::fetch`), with the source of each.
pub(crate) fn modules(dir: &Path, parent: &str, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let name = match stem {
            "mod" => parent.to_owned(),
            stem if parent.is_empty() => stem.to_owned(),
            stem => format!("{parent}::{stem}"),
        };
        if path.is_dir() {
            modules(&path, &name, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
}

/// The modules that a module names by `crate::…`, outside comments and tests.
fn imports(source: &str, modules: &BTreeMap<String, String>) -> BTreeSet<String> {
    let code = source.split("#[cfg(all(test").next().unwrap();
    let lines = code.lines().map(|line| line.split("//").next().unwrap());
    let named = lines.flat_map(|line| line.split("crate::").skip(1));
    let module_of = |path: &str| {
        let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
        let end = path.find(|c| !is_path(c)).unwrap_or(path.len());
        let mut path = &path[..end];
        while !modules.contains_key(path) {
            path = path.rsplit_once("::")?.0;
        }
        Some(path.to_owned())
    };
    named.filter_map(module_of).collect()
}

#[limited::test]
fn imports_form_no_cycle() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = BTreeMap::new();
    modules(&source, "", &mut sources);
    sources.remove("lib");
    let mut imports: BTreeMap<&str, BTreeSet<String>> = sources
        .iter()
        .map(|(module, source)| (&**module, imports(source, &sources)))
        .collect();
    for (module, imported) in &mut imports {
        imported.remove(*module);
    }
    let edges: usize = imports.values().map(BTreeSet::len).sum();
    assert!(edges > 80, "only {edges} imports were found");
    // Removes modules that import none of the others, until only cycles are left.
    while let Some(module) = imports
        .iter()
        .find(|(_, imported)| imported.is_empty())
        .map(|(module, _)| *module)
    {
        imports.remove(module);
        for imported in imports.values_mut() {
            imported.remove(module);
        }
    }
    assert!(
        imports.is_empty(),
        "imports form a cycle among {imports:#?}"
    );
}
