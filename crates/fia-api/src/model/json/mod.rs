//! JSON as the older server writes it.
//!
//! That server parses every value with Python's `json` and writes it again: separators without
//! spaces, non-ASCII raw, integers of any size exact, and every number with a fraction or an
//! exponent as the `repr` of a Python float. Key order is kept.

mod jsonb;
mod number;
mod select;
mod syntax;
mod unescape;

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use serde_json::ser::Serializer;
use serde_json::value::RawValue;

pub use jsonb::from_jsonb;
pub use number::float_repr;
pub(super) use number::{MAX_INT_DIGITS, python_number};
pub use select::{SelectedFields, select_fields};
pub use syntax::SyntaxCheck;

use number::{PythonNumbers, is_integer, is_pythons};

/// Parses a JSON text. `None` if it is not JSON (`NaN` is not), contains a number that is not
/// [storable](is_storable), or is nested deeper than the parser's limit (128).
#[must_use]
pub fn parse(text: &[u8]) -> Option<Value> {
    let value: Value = serde_json::from_slice(text).ok()?;
    is_storable(&value).then_some(value)
}

/// Returns true if Python can parse and PostgreSQL's `jsonb` can store every number: finite, and
/// no integer of more than 4300 digits.
#[must_use]
pub fn is_storable(value: &Value) -> bool {
    match value {
        Value::Number(number) if is_integer(number.as_str()) => {
            number.as_str().trim_start_matches('-').len() <= MAX_INT_DIGITS
        }
        Value::Number(number) => number.as_f64().is_some_and(f64::is_finite),
        Value::Array(items) => items.iter().all(is_storable),
        Value::Object(fields) => fields.values().all(is_storable),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

/// Returns true if a string or a key contains NUL, which PostgreSQL stores neither in `text` nor
/// in `jsonb`.
#[must_use]
pub fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(holds_nul),
        Value::Object(fields) => fields
            .iter()
            .any(|(key, value)| key.contains('\0') || holds_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Writes a value in the form of the older server's responses.
#[must_use]
pub fn render(value: &impl Serialize) -> Bytes {
    let mut out = Vec::new();
    append(&mut out, value);
    out.into()
}

/// Appends a value in the form of [`render`].
pub fn append(out: &mut Vec<u8>, value: &impl Serialize) {
    let start = out.len();
    let mut writer = Serializer::with_formatter(&mut *out, PythonNumbers);
    // Writing to memory cannot fail, and all values written here have string keys.
    if let Err(error) = value.serialize(&mut writer) {
        tracing::error!(%error, "serializing a value failed: null is sent instead");
        out.truncate(start);
        out.extend_from_slice(&NULL);
    }
}

/// The literal `null`.
pub const NULL: Bytes = Bytes::from_static(b"null");

/// The part `raw` of `payload` (or a `null` from elsewhere) in the form of responses: shared if it
/// has that form already, rewritten if a peer wrote spaces or escapes. `None` if it cannot be
/// parsed.
#[must_use]
pub fn compact(payload: &Bytes, raw: &RawValue) -> Option<Bytes> {
    let text = raw.get().as_bytes();
    if text == NULL {
        return Some(NULL);
    }
    if is_compact(text) {
        return Some(payload.slice_ref(text));
    }
    parse(text).map(|value| render(&value))
}

/// Returns true if a valid JSON text has no white space between tokens, and no escape or number that
/// [`render`] writes otherwise. May return false for such a text.
fn is_compact(text: &[u8]) -> bool {
    let mut rest = text;
    let mut in_string = false;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match (in_string, byte) {
            (_, b'"') => in_string = !in_string,
            (true, b'\\') => match after.split_first() {
                None | Some((b'u' | b'/', _)) => return false,
                Some((_, after)) => rest = after,
            },
            (false, b' ' | b'\t' | b'\n' | b'\r') => return false,
            (false, b'-' | b'0'..=b'9') => {
                let of_number =
                    |byte: &u8| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
                let more = after.iter().take_while(|byte| of_number(byte)).count();
                let number = &text[text.len() - after.len() - 1..text.len() - after.len() + more];
                if !is_pythons(number) {
                    return false;
                }
                rest = &after[more..];
            }
            _ => {}
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A program other than the older server may have written it.
    #[test]
    fn a_number_in_another_form_is_rewritten() {
        for (sent, expected) in [
            ("2e0", Some("2.0")),
            ("[1.50,-0]", Some("[1.5,0]")),
            ("{\"a\":1e999}", None),
            ("[1.5,-0.0,1e-05,12,true]", Some("[1.5,-0.0,1e-05,12,true]")),
            ("\"2e0\"", Some("\"2e0\"")),
        ] {
            let payload = Bytes::copy_from_slice(sent.as_bytes());
            let raw = serde_json::from_slice::<&RawValue>(&payload).unwrap();
            assert_eq!(
                compact(&payload, raw).as_deref(),
                expected.map(str::as_bytes)
            );
        }
    }

    fn through(text: &str) -> String {
        String::from_utf8(render(&parse(text.as_bytes()).unwrap()).to_vec()).unwrap()
    }

    /// What `json.dumps(json.loads(text), separators=(",", ":"), ensure_ascii=False)` gives.
    #[test]
    fn values_are_written_as_python_writes_them() {
        for (given, written) in [
            ("2.50", "2.5"),
            ("1e2", "100.0"),
            ("1.0", "1.0"),
            ("-0", "0"),
            ("-0.0", "-0.0"),
            ("0.0001", "0.0001"),
            ("0.00001", "1e-05"),
            ("1e16", "1e+16"),
            ("1e15", "1000000000000000.0"),
            ("1E300", "1e+300"),
            ("-1e-07", "-1e-07"),
            ("1.7976931348623157e308", "1.7976931348623157e+308"),
            ("0.1234567890123456789", "0.12345678901234568"),
            ("12345678901234567890123", "12345678901234567890123"),
            (r#"{"b": 1, "a" : [ ], "b": 2}"#, r#"{"b":2,"a":[]}"#),
            (
                r#""\u00fc\/\u2603\ud83d\ude00\u007f\u0001""#,
                "\"ü/☃😀\u{7f}\\u0001\"",
            ),
            (
                r#"{"é": [null, true, false]}"#,
                r#"{"é":[null,true,false]}"#,
            ),
        ] {
            assert_eq!(through(given), written, "{given}");
        }
    }

    #[test]
    fn values_that_python_or_postgresql_cannot_hold_are_rejected() {
        for text in ["1e999", "NaN", "[Infinity]", r#""\ud800""#, "", "{", "nul"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse("[".repeat(200).as_bytes()), None);
        assert!(holds_nul(&parse(br#"{"a":["\u0000"]}"#).unwrap()));
        assert!(holds_nul(&parse(br#"{"\u0000":1}"#).unwrap()));
    }

    #[test]
    fn a_compact_part_is_shared_and_a_peers_is_rewritten() {
        for (payload, body) in [
            (r#"["a","b\n"]"#, r#"["a","b\n"]"#),
            (r#"["a", "\u00fc"]"#, r#"["a","ü"]"#),
            (r#"{"a": 1.0}"#, r#"{"a":1.0}"#),
            (r#"["with space"]"#, r#"["with space"]"#),
        ] {
            let payload = Bytes::from(payload);
            let raw: &RawValue = serde_json::from_slice(&payload).unwrap();
            assert_eq!(compact(&payload, raw).unwrap(), body);
        }
    }

    proptest! {
        /// Rendering a rendered value changes nothing.
        #[test]
        fn rendering_is_idempotent(text in any::<String>(), number in any::<f64>().prop_filter("finite", |n| n.is_finite())) {
            let once = through(&format!("[{},{}]", serde_json::to_string(&text).unwrap(), float_repr(number)));
            prop_assert_eq!(&through(&once), &once);
            let (back_text, back_number): (String, serde_json::Number) = serde_json::from_str(&once).unwrap();
            prop_assert_eq!(back_text, text);
            prop_assert_eq!(back_number.as_str().parse::<f64>().unwrap(), number);
        }
    }
}
