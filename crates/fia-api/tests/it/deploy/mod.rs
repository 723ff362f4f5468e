//! The files in `deploy`: they fit together, and name settings and routes that exist.

mod compose;
mod gateway;
mod manifests;
mod settings;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use devstack::find_program;
use serde::Deserialize as _;
use serde_json::Value;

fn deploy(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../deploy")
        .join(file)
}

fn documents(yaml: &str) -> Vec<Value> {
    serde_yaml_ng::Deserializer::from_str(yaml)
        .map(|document| Value::deserialize(document).unwrap())
        .filter(|document| !document.is_null())
        .collect()
}

/// The rendered manifests of an overlay by kind; `None` where `kubectl` is not installed, as
/// Debian's package is too old to render them.
fn render(overlay: &str) -> Option<BTreeMap<String, Value>> {
    let Ok(program) = find_program("kubectl", &[]) else {
        eprintln!("kubectl is not installed: {overlay} is not checked");
        return None;
    };
    let output = Command::new(program)
        .arg("kustomize")
        .arg(deploy("kustomize/overlays").join(overlay))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let documents = documents(std::str::from_utf8(&output.stdout).unwrap());
    let by_kind = documents.into_iter().map(|document| {
        let kind = document["kind"].as_str().unwrap().to_owned();
        (kind, document)
    });
    Some(by_kind.collect())
}

/// The only container of a Deployment or Job.
fn container(manifest: &Value) -> &Value {
    let containers = &manifest["spec"]["template"]["spec"]["containers"];
    assert_eq!(containers.as_array().unwrap().len(), 1);
    &containers[0]
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}
