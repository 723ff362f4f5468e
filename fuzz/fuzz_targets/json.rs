//! JSON: the syntax check of strangers' bodies and the form of responses, against `serde_json`.
#![no_main]

use fia_api::model::dumps::dumps;
use fia_api::model::json::{self, SelectedFields, SyntaxCheck, select_fields};
use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;
use serde_json::Value;

fuzz_target!(|input: (u8, &str)| {
    let (size, text) = input;
    let mut check = SyntaxCheck::default();
    for chunk in text.as_bytes().chunks(usize::from(size).max(1)) {
        check.push(chunk);
    }
    let mut parser = serde_json::Deserializer::from_str(text);
    parser.disable_recursion_limit();
    let parsed = serde::Deserialize::deserialize(&mut parser);
    let is_json = parsed.is_ok_and(|IgnoredAny| parser.end().is_ok());
    // The check has a limit of depth of its own.
    assert!(is_json || !check.is_complete(), "accepts what is not JSON");
    if let Ok(tree) = serde_json::from_str::<Value>(text) {
        assert!(check.is_complete(), "refuses JSON");
        assert!(nodes(&tree) <= check.nodes(), "counts too few nodes");
    }
    if let Some(value) = json::parse(text.as_bytes()) {
        let once = json::render(&value);
        let again = json::parse(&once).expect("what is rendered can be parsed");
        assert_eq!(json::render(&again), once, "rendering is not idempotent");
        let dumped: Value = serde_json::from_str(&dumps(&value)).expect("what is dumped is JSON");
        assert_eq!(json::render(&dumped), once, "dumps another value");
        selected(text, &value);
    }
});

/// Two fields, against the whole tree.
fn selected(text: &str, value: &Value) {
    const NAMES: [&str; 2] = ["state", "a"];
    let fields = select_fields(text, &NAMES).expect("selects from JSON");
    match (fields, value) {
        (SelectedFields::Null, Value::Null) => {}
        (SelectedFields::Object(found), Value::Object(all)) => {
            for name in NAMES {
                let expected = all.get(name).map(|value| match value {
                    Value::Null | Value::String(_) => value.clone(),
                    _ => Value::Bool(false),
                });
                assert_eq!(found.get(name), expected.as_ref(), "{name}");
            }
        }
        (SelectedFields::NoObject, other) => assert!(!other.is_object() && !other.is_null()),
        (fields, _) => panic!("{fields:?}"),
    }
}

/// Values and keys.
fn nodes(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(nodes).sum::<usize>(),
        Value::Object(fields) => 1 + fields.values().map(|value| 1 + nodes(value)).sum::<usize>(),
        _ => 1,
    }
}
