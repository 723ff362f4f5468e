//! Variables of manifests and of the compose file.

use std::collections::BTreeMap;

use fia_api::config::Config;
use serde_json::Value;

use crate::deploy::{container, list, render, text};

/// Checks variables with literal values: known, valid, and no secrets.
pub(super) fn check_literals(variables: &BTreeMap<String, String>) {
    let config = Config::from_vars(&|name| variables.get(name).cloned()).unwrap();
    for (name, value) in variables {
        let setting = config.settings.iter().find(|setting| setting.name == name);
        let setting = setting.unwrap_or_else(|| panic!("{name} is not a setting"));
        // A secret's value in force is hidden.
        assert!(!setting.value.contains("hidden"), "{name}={value}");
    }
}

/// Checks that a name is a setting whose value is hidden.
pub(super) fn check_secret(name: &str) {
    let config =
        Config::from_vars(&|asked| (asked == name).then(|| "a-secret-long-enough".to_owned()));
    let shown = config.map(|config| config.listing()).unwrap_or_default();
    assert!(shown.contains(&format!("\n{name}=")), "{name} is unknown");
    assert!(!shown.contains("a-secret"), "{name} is shown");
}

#[test]
fn every_variable_of_the_manifests_is_a_setting_and_every_secret_a_reference() {
    for overlay in ["staging", "production"] {
        let Some(manifests) = render(overlay) else {
            return;
        };
        let config_map = &manifests["ConfigMap"];
        for kind in ["Deployment", "Job"] {
            let container = container(&manifests[kind]);
            let sources = list(&container["envFrom"]);
            assert_eq!(sources.len(), 1, "{kind}");
            let source = &sources[0]["configMapRef"]["name"];
            assert_eq!(source, &config_map["metadata"]["name"], "{kind}");
            let (literals, secrets) = variables(config_map, container);
            check_literals(&literals);
            for secret in secrets {
                if !is_user_name(&secret) {
                    check_secret(&secret);
                }
            }
        }
    }
}

/// Names of users are kept beside their passwords.
fn is_user_name(name: &str) -> bool {
    matches!(name, "DB_USERNAME" | "QUEUE_USER")
}

/// The variables with literal values, and the names of those from secrets.
fn variables(config_map: &Value, container: &Value) -> (BTreeMap<String, String>, Vec<String>) {
    let mut literals = BTreeMap::new();
    for (name, value) in config_map["data"].as_object().unwrap() {
        literals.insert(name.clone(), text(value).to_owned());
    }
    let mut secrets = Vec::new();
    for variable in list(&container["env"]) {
        let name = text(&variable["name"]).to_owned();
        match variable.get("value") {
            Some(value) => {
                literals.insert(name, text(value).to_owned());
            }
            None => {
                let reference = &variable["valueFrom"]["secretKeyRef"];
                assert!(reference["name"].is_string() && reference["key"].is_string());
                secrets.push(name);
            }
        }
    }
    (literals, secrets)
}
