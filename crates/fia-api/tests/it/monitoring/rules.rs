//! The alerting rules as a file: valid, unit-tested, documented, and about metrics that exist.

use std::collections::BTreeSet;
use std::process::Command;

use devstack::find_program;
use fia_api::app::Metrics;

use crate::monitoring::{deploy, read};

const RULES: &str = "prometheus/rules.yaml";
const TESTS: &str = "prometheus/rules.test.yaml";
const DASHBOARD: &str = "grafana/fia-api.json";

fn promtool(arguments: &[&str], file: &str) {
    let program = find_program("promtool", &[]).unwrap();
    let output = Command::new(program)
        .args(arguments)
        .arg(deploy(file))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn promtool_accepts_the_rules_and_their_unit_tests() {
    promtool(&["check", "rules"], RULES);
    promtool(&["test", "rules"], TESTS);
}

/// The names of all alerts.
fn alerts() -> Vec<String> {
    let rules = read(RULES);
    let names = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    names.map(str::to_owned).collect()
}

#[test]
fn every_alert_is_unit_tested_and_documented() {
    let (tests, document) = (read(TESTS), read("../docs/operations.md"));
    let alerts = alerts();
    assert!(alerts.len() >= 5);
    for alert in &alerts {
        let anchor = format!("operations.md#{}\n", alert.to_lowercase());
        assert!(read(RULES).contains(&anchor), "{alert} links elsewhere");
        // Once where it must not fire, once where it must.
        let tested = tests.matches(&format!("alertname: {alert}")).count();
        assert!(tested >= 2, "{alert} has {tested} unit tests");
        assert!(document.contains(&format!("\n### {alert}\n")), "{alert}");
    }
    let documented = document.matches("\n### FiaApi").count();
    assert_eq!(documented, alerts.len(), "documented alerts");
}

/// The words of a text that are names of metrics of the server.
fn metric_names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words
        .filter(|word| word.starts_with("fia_api_") || word.starts_with("process_"))
        .collect()
}

#[test]
fn rules_and_dashboard_name_metrics_of_the_catalogue() {
    let reference = Metrics::reference();
    let known = metric_names(&reference);
    for file in [RULES, TESTS, DASHBOARD] {
        let text = read(file);
        let used = metric_names(&text);
        assert!(!used.is_empty());
        for name in used {
            let parts = ["_bucket", "_sum", "_count"].iter();
            let mut families = parts.filter_map(|part| name.strip_suffix(part));
            let is_known = known.contains(name) || families.any(|name| known.contains(name));
            assert!(is_known, "{file} names {name}");
        }
    }
}
