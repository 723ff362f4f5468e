//! The rendered manifests: names, references, probes, security.

use std::time::Duration;

use fia_api::routes;
use serde_json::{Value, json};

use crate::deploy::{container, list, render, text};

/// The overlays, with their number of replicas.
const OVERLAYS: [(&str, u64); 2] = [("staging", 3), ("production", 5)];
/// Limit of the server for in-flight requests after the shutdown delay.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(8);

#[test]
fn names_are_those_of_the_existing_deployment() {
    for (overlay, replicas) in OVERLAYS {
        let Some(manifests) = render(overlay) else {
            return;
        };
        for manifest in manifests.values() {
            assert_eq!(manifest["metadata"]["namespace"], "fia");
        }
        let deployment = &manifests["Deployment"];
        assert_eq!(deployment["metadata"]["name"], "fia-api");
        assert_eq!(deployment["spec"]["replicas"], replicas);
        let container = container(deployment);
        assert_eq!(container["name"], "fia-api");
        let image = text(&container["image"]);
        assert!(image.starts_with("ghcr.io/fiaisis/fia-api@sha256:"));
        assert_eq!(manifests["Service"]["metadata"]["name"], "fia-api-service");
        let annotations = &deployment["spec"]["template"]["metadata"]["annotations"];
        assert_eq!(annotations["k8s.grafana.com/scrape"], "true");
        assert_eq!(
            annotations["k8s.grafana.com/metrics.portNumber"],
            port(container, "metrics").to_string()
        );
        assert_eq!(port(container, "http"), 80);
    }
}

fn port(container: &Value, name: &str) -> u64 {
    let mut ports = list(&container["ports"]).iter();
    let port = ports.find(|port| port["name"] == name).unwrap();
    port["containerPort"].as_u64().unwrap()
}

#[test]
fn references_between_the_manifests_resolve() {
    for (overlay, _) in OVERLAYS {
        let Some(manifests) = render(overlay) else {
            return;
        };
        let pod = &manifests["Deployment"]["spec"]["template"];
        let labels = &pod["metadata"]["labels"];
        for selector in [
            &manifests["Deployment"]["spec"]["selector"]["matchLabels"],
            &manifests["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
            &manifests["Service"]["spec"]["selector"],
        ] {
            for (key, value) in selector.as_object().unwrap() {
                assert_eq!(&labels[key], value);
            }
        }
        let volumes: Vec<&Value> = list(&pod["spec"]["volumes"])
            .iter()
            .map(|volume| &volume["name"])
            .collect();
        let container = container(&manifests["Deployment"]);
        let mounts = list(&container["volumeMounts"]);
        assert_eq!(mounts.len(), volumes.len());
        for mount in mounts {
            assert!(volumes.contains(&&mount["name"]), "{mount}");
        }
        let settings = &manifests["ConfigMap"]["data"];
        for (setting, read_only) in [
            ("CEPH_DIR", true),
            ("EXTRAS_DIRECTORY", false),
            ("SCRIPT_DIR", false),
        ] {
            let mut mounts = mounts.iter();
            let mount = mounts.find(|mount| mount["mountPath"] == settings[setting]);
            let mount = mount.unwrap_or_else(|| panic!("{setting} is not mounted"));
            assert_eq!(mount["readOnly"].as_bool().unwrap_or(false), read_only);
        }
        let bind = text(&settings["FIA_API_METRICS_BIND"]);
        assert!(bind.ends_with(&format!(":{}", port(container, "metrics"))));
        for port in list(&manifests["Service"]["spec"]["ports"]) {
            assert!(
                list(&container["ports"])
                    .iter()
                    .any(|known| known["name"] == port["targetPort"])
            );
        }
    }
}

#[test]
fn probes_keep_replicas_in_rotation_while_postgresql_is_unavailable() {
    for (overlay, _) in OVERLAYS {
        let Some(manifests) = render(overlay) else {
            return;
        };
        let container = container(&manifests["Deployment"]);
        for (probe, path) in [
            ("startupProbe", "/ready"),
            ("readinessProbe", "/healthz"),
            ("livenessProbe", "/healthz"),
        ] {
            let request = &container[probe]["httpGet"];
            assert_eq!(request, &json!({"path": path, "port": "http"}), "{probe}");
            assert!(routes::paths().contains(&path));
        }
    }
}

#[test]
fn the_grace_period_covers_the_shutdown() {
    for (overlay, _) in OVERLAYS {
        let Some(manifests) = render(overlay) else {
            return;
        };
        let mut variables = list(&container(&manifests["Deployment"])["env"]).iter();
        let delay = variables.find(|one| one["name"] == "FIA_API_SHUTDOWN_DELAY");
        let delay: u64 = text(&delay.unwrap()["value"]).parse().unwrap();
        let pod = &manifests["Deployment"]["spec"]["template"]["spec"];
        let grace = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
        assert!(delay >= 5 && grace > delay + DRAIN_TIMEOUT.as_secs());
    }
}

#[test]
fn containers_are_confined() {
    for (overlay, _) in OVERLAYS {
        let Some(manifests) = render(overlay) else {
            return;
        };
        for kind in ["Deployment", "Job"] {
            let pod = &manifests[kind]["spec"]["template"]["spec"];
            assert_eq!(pod["automountServiceAccountToken"], false);
            assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
            assert_eq!(pod["securityContext"]["runAsUser"], 10001);
            let container = container(&manifests[kind]);
            let expected = json!({
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"]},
            });
            assert_eq!(container["securityContext"], expected);
            let resources = &container["resources"];
            assert!(resources["requests"]["cpu"].is_string());
            assert!(resources["requests"]["memory"].is_string());
            assert!(resources["limits"]["memory"].is_string());
        }
        let job = container(&manifests["Job"]);
        assert_eq!(job["args"], json!(["schema", "--apply"]));
    }
}
