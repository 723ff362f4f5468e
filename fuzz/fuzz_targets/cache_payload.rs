//! Entries of Valkey from any program: markers, and payloads in the form of responses.
#![no_main]

use bytes::Bytes;
use fia_api::model::json::{compact, from_jsonb, parse, render};
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;
use tiercache::fuzzing::{kind, markers};

fuzz_target!(|content: &[u8]| {
    markers_are_exact(content);
    let Ok(text) = std::str::from_utf8(content) else {
        return;
    };
    let payload = Bytes::copy_from_slice(content);
    if let Ok(raw) = serde_json::from_slice::<&RawValue>(&payload) {
        // A repeated field may stay, of which the last counts.
        let rendered = compact(&payload, raw).map(|body| parse(&body).map(|value| render(&value)));
        assert_eq!(
            rendered.flatten(),
            parse(raw.get().as_bytes()).map(|value| render(&value))
        );
        if let Some(body) = compact(&payload, raw) {
            let again = serde_json::from_slice::<&RawValue>(&body).expect("JSON");
            assert_eq!(compact(&body, again), Some(body.clone()), "another form");
        }
    }
    if let Ok(raw) = from_jsonb(text) {
        assert!(serde_json::from_str::<&RawValue>(raw.get()).is_ok());
    }
});

/// Only `null` and white space of the exact length is a marker, and a marker with any other byte is
/// none.
fn markers_are_exact(content: &[u8]) {
    let is_marker = content.len() == 69
        && content.starts_with(b"null")
        && matches!(content[4], b'\t' | b'\n')
        && content[5..].iter().all(|byte| b" \t\n\r".contains(byte));
    let expected = match content {
        b"null" => "tombstone",
        _ if !is_marker => "payload",
        _ if content[4] == b'\t' => "lease",
        _ => "fence",
    };
    assert_eq!(kind(content), expected);
    for (mut marker, name) in markers().into_iter().zip(["lease", "fence"]) {
        assert_eq!(kind(&marker), name);
        if let [position, byte, ..] = content {
            let position = usize::from(*position) % marker.len();
            if marker[position] != *byte && !b" \t\n\r".contains(byte) {
                marker[position] = *byte;
                assert_eq!(kind(&marker), "payload");
            }
        }
    }
}
