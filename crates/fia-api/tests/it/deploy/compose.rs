//! The compose file: references resolve, variables are settings, secrets can be replaced.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::deploy::settings::{check_literals, check_secret};
use crate::deploy::{deploy, documents, list, text};

fn compose() -> Value {
    let yaml = std::fs::read_to_string(deploy("compose.yaml")).unwrap();
    let mut documents = documents(&yaml);
    assert_eq!(documents.len(), 1);
    documents.remove(0)
}

/// The environment of a service, merge keys (`<<`) included.
fn environment(service: &Value) -> BTreeMap<String, String> {
    let given = service["environment"].as_object().unwrap();
    let merged = given.get("<<").and_then(Value::as_object);
    let all = merged.into_iter().flatten().chain(given);
    all.filter(|(name, _)| *name != "<<")
        .map(|(name, value)| (name.clone(), text(value).to_owned()))
        .collect()
}

#[test]
fn variables_are_settings_and_secrets_can_be_replaced() {
    let compose = compose();
    for service in ["fia-api", "schema"] {
        let variables = environment(&compose["services"][service]);
        let (references, literals): (BTreeMap<_, _>, BTreeMap<_, _>) = variables
            .into_iter()
            .partition(|(_, value)| value.starts_with("${"));
        assert!(references.len() >= 4, "{service}");
        references.keys().for_each(|name| check_secret(name));
        check_literals(&literals);
    }
}

#[test]
fn references_resolve() {
    let compose = compose();
    let services = compose["services"].as_object().unwrap();
    let volumes = compose["volumes"].as_object().unwrap();
    for (name, service) in services {
        let known = [
            "build",
            "image",
            "user",
            "read_only",
            "environment",
            "ports",
            "volumes",
            "healthcheck",
            "stop_grace_period",
            "depends_on",
            "command",
        ];
        for key in service.as_object().unwrap().keys() {
            assert!(known.contains(&key.as_str()), "{name}: {key}");
        }
        assert!(
            service["image"].is_string() != service["build"].is_object(),
            "{name}"
        );
        for (dependency, condition) in service["depends_on"].as_object().into_iter().flatten() {
            let other = services
                .get(dependency)
                .unwrap_or_else(|| panic!("{dependency}"));
            let is_checked = condition["condition"] == "service_healthy";
            assert!(
                !is_checked || other["healthcheck"]["test"].is_array(),
                "{dependency}"
            );
        }
        for volume in list(&service["volumes"]) {
            let (source, _) = text(volume).split_once(':').unwrap();
            let exists = match source.strip_prefix("../") {
                Some(file) => deploy("..").join(file).is_file(),
                None => volumes.contains_key(source),
            };
            assert!(exists, "{name}: {source}");
        }
    }
    // The host names in settings are services.
    for (variable, value) in environment(&compose["services"]["fia-api"]) {
        let is_host = matches!(variable.as_str(), "DB_IP" | "QUEUE_HOST");
        let url = value.split_once("://").map(|(_, rest)| rest);
        if let Some(host) = url.or(is_host.then_some(value.as_str())) {
            let host = host.split([':', '/']).next().unwrap();
            assert!(services.contains_key(host), "{variable}={value}");
        }
    }
}

#[test]
fn built_stages_exist() {
    let containerfile = std::fs::read_to_string(deploy("../Containerfile")).unwrap();
    let compose = compose();
    for (name, service) in compose["services"].as_object().unwrap() {
        let build = &service["build"];
        if let Some(stage) = build["target"].as_str() {
            assert!(containerfile.contains(&format!(" AS {stage}\n")), "{name}");
        }
        if build.is_object() {
            assert_eq!(build["dockerfile"], "Containerfile", "{name}");
        }
    }
}
