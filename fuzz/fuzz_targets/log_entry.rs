//! Entries of live logs: ids, and texts as ASCII JSON in one line.
#![no_main]

use fia_api::model::dumps::dumps;
use fia_api::streams::{EntryId, Since};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

fuzz_target!(|input: (&str, Vec<(String, String)>)| {
    let (text, fields) = input;
    if let Some(id) = EntryId::parse(text) {
        assert_eq!(EntryId::parse(&id.to_string()), Some(id));
        assert!(EntryId::ZERO <= id && id <= EntryId::MAX);
        assert_eq!(Since::parse(text), Some(Since::After(id)));
    } else {
        assert!(matches!(Since::parse(text), None | Some(Since::Now)));
    }
    let fields: Map<String, Value> = fields
        .into_iter()
        .map(|(name, value)| (name, Value::String(value)))
        .collect();
    let line = dumps(&fields);
    assert!(line.is_ascii() && !line.contains(['\n', '\r']), "{line:?}");
    let read: Map<String, Value> = serde_json::from_str(&line).expect("JSON");
    assert_eq!(read, fields);
});
