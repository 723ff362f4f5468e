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

/// Follows a reference into the document's components.
fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(pointer) => document.pointer(pointer.trim_start_matches('#')).unwrap(),
        None => value,
    }
}

/// Asserts that `ours` has all that `theirs` has. Texts may differ, and members may be added.
fn assert_covers(document: &Value, ours: &Value, theirs: &Value, at: &str) {
    // A schema's name is part of the generated client, so it is compared and not resolved.
    let ours = if theirs["$ref"].is_string() {
        ours
    } else {
        resolve(document, ours)
    };
    match theirs {
        Value::Object(members) => {
            for (name, theirs) in members.iter().filter(|(name, _)| *name != "description") {
                assert_covers(document, &ours[name], theirs, &format!("{at}/{name}"));
            }
        }
        Value::Array(items) => {
            assert_eq!(ours.as_array().map(Vec::len), Some(items.len()), "{at}");
            for (index, theirs) in items.iter().enumerate() {
                assert_covers(document, &ours[index], theirs, &format!("{at}/{index}"));
            }
        }
        scalar => assert_eq!(ours, scalar, "{at}"),
    }
}

#[test]
fn names_types_and_statuses_are_those_of_the_reference_document() {
    let (served, reference) = (served(), reference());
    for part in ["openapi", "info", "servers", "paths"] {
        assert_covers(&served, &served[part], &reference[part], part);
    }
    let (ours, theirs) = (&served["components"], &reference["components"]);
    assert_covers(&served, ours, theirs, "components");
}

/// Collects the parts of a schema that lack a description.
fn collect_undescribed(schema: &Value, at: &str, missing: &mut Vec<String>) {
    if schema["$ref"].is_string() {
        return;
    }
    if !schema["description"].is_string() {
        missing.push(at.to_owned());
    }
    let properties = schema["properties"].as_object().into_iter().flatten();
    for (name, property) in properties {
        // A property that is a reference carries its description beside it.
        if !property["description"].is_string() {
            missing.push(format!("{at}/{name}"));
        }
    }
    if schema["items"].is_object() {
        collect_undescribed(&schema["items"], &format!("{at}/items"), missing);
    }
}

#[test]
fn operations_parameters_schemas_and_responses_have_descriptions() {
    let served = served();
    let mut missing = Vec::new();
    let mut require = |value: &Value, at: String| {
        if resolve(&served, value)["description"]
            .as_str()
            .is_none_or(str::is_empty)
        {
            missing.push(at);
        }
    };
    for (method, path, operation) in operations(&served) {
        require(operation, format!("{method} {path}"));
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            require(parameter, format!("{method} {path} {}", parameter["name"]));
        }
        if operation["requestBody"].is_object() {
            require(&operation["requestBody"], format!("{method} {path} body"));
        }
        for (status, response) in operation["responses"].as_object().unwrap() {
            require(response, format!("{method} {path} {status}"));
        }
    }
    for (name, header) in served["components"]["headers"].as_object().unwrap() {
        require(header, name.clone());
    }
    for (name, schema) in served["components"]["schemas"].as_object().unwrap() {
        collect_undescribed(schema, name, &mut missing);
    }
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn every_reference_resolves() {
    fn check(document: &Value, value: &Value) {
        resolve(document, value);
        match value {
            Value::Object(members) => members.values().for_each(|value| check(document, value)),
            Value::Array(items) => items.iter().for_each(|value| check(document, value)),
            _ => {}
        }
    }
    let served = served();
    check(&served, &served);
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
