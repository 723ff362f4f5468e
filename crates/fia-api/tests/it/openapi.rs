//! The OpenAPI document compared with the routes, the recorded cases and the reference document.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::recorded::{cases, text};

/// Operations without a recorded case: the legacy server lacks them.
const UNRECORDED: &[&str] = &["GET /live-data/{}/traceback"];

fn served() -> Value {
    serde_json::from_str(fia_api::model::openapi::SOURCE).unwrap()
}

fn reference() -> Value {
    serde_json::from_str(include_str!("openapi.reference.json")).unwrap()
}

/// Every operation of a document: method, path and description.
fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let methods = paths.iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().iter();
        methods.map(move |(method, operation)| (method.to_uppercase(), path.clone(), operation))
    });
    methods.collect()
}

/// Removes parameter names from a path: `GET /live-data/{}/script`.
fn without_parameter_names(method: &str, path: &str) -> String {
    let segments = path
        .split('/')
        .map(|part| if part.starts_with('{') { "{}" } else { part });
    format!("{method} {}", segments.collect::<Vec<_>>().join("/"))
}

#[test]
fn descriptions_match_the_reference_document() {
    let (served, reference) = (served(), reference());
    for (method, path, ours) in operations(&served) {
        let theirs = &reference["paths"][&path][method.to_lowercase()];
        if !UNRECORDED.contains(&without_parameter_names(&method, &path).as_str()) {
            assert_eq!(ours, theirs, "{method} {path}");
        }
    }
    for (name, schema) in served["components"]["schemas"].as_object().unwrap() {
        assert_eq!(*schema, reference["components"]["schemas"][name], "{name}");
    }
    for field in ["openapi", "info", "servers"] {
        assert_eq!(served[field], reference[field]);
    }
}

#[test]
fn every_reference_operation_is_served() {
    let served = served();
    let served: BTreeSet<&str> = operations(&served)
        .into_iter()
        .map(|(_, _, operation)| operation["operationId"].as_str().unwrap())
        .collect();
    for (method, path, operation) in operations(&reference()) {
        let id = operation["operationId"].as_str().unwrap();
        assert!(served.contains(id), "{method} {path} ({id})");
    }
}

#[test]
fn every_operation_has_a_recorded_case() {
    let mut recorded = BTreeSet::new();
    for case in cases() {
        let path = text(&case, "path");
        let path = path.split('?').next().unwrap();
        let method = match text(&case, "method") {
            method if method.is_empty() => "GET".to_owned(),
            method => method,
        };
        recorded.insert((method, path.to_owned()));
    }
    for (method, path, _) in operations(&served()) {
        let fits = |(recorded_method, recorded): &(String, String)| {
            let pattern: Vec<&str> = path.split('/').collect();
            let parts: Vec<&str> = recorded.split('/').collect();
            *recorded_method == method
                && parts.len() == pattern.len()
                && pattern
                    .iter()
                    .zip(&parts)
                    .all(|(p, part)| p.starts_with('{') || p == part)
        };
        let expected = !UNRECORDED.contains(&without_parameter_names(&method, &path).as_str());
        assert_eq!(recorded.iter().any(fits), expected, "{method} {path}");
    }
}

#[test]
fn routes_and_described_paths_coincide() {
    let undescribed = [
        "/docs",
        "/redoc",
        "/docs/oauth2-redirect",
        "/docs/{asset}",
        "/openapi.json",
    ];
    let routes: BTreeSet<String> = fia_api::routes::paths()
        .into_iter()
        .filter(|path| !undescribed.contains(path))
        .map(|path| without_parameter_names("", path))
        .collect();
    let served = served();
    let described = served["paths"].as_object().unwrap().keys();
    let described: BTreeSet<String> = described
        .map(|path| without_parameter_names("", path))
        .collect();
    assert_eq!(routes, described);
}
