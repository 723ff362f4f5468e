//! JSON as the older server writes it.
//!
//! It decodes every value with Python's `json` and encodes it anew: separators without
//! spaces, non-ASCII raw, integers of any size exact, and every number with a fraction or an
//! exponent as the `repr` of a Python float. Key order is kept.

use std::borrow::Cow;
use std::io;

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{Formatter, Serializer};
use serde_json::value::RawValue;

/// Reads a JSON text. `None` where it is not JSON (`NaN` is not), holds a number that is not
/// [storable](is_storable), or is nested deeper than the parser's limit (128).
#[must_use]
pub fn parse(text: &[u8]) -> Option<Value> {
    let value: Value = serde_json::from_slice(text).ok()?;
    is_storable(&value).then_some(value)
}

/// Whether every number is one that Python reads and PostgreSQL's `jsonb` keeps: finite, and
/// no integer of more than 4300 digits.
#[must_use]
pub fn is_storable(value: &Value) -> bool {
    match value {
        Value::Number(number) if is_integer(number.as_str()) => {
            number.as_str().trim_start_matches('-').len() <= MAX_INTEGER_DIGITS
        }
        Value::Number(number) => number.as_f64().is_some_and(f64::is_finite),
        Value::Array(items) => items.iter().all(is_storable),
        Value::Object(fields) => fields.values().all(is_storable),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

/// Python's own limit for reading an integer.
const MAX_INTEGER_DIGITS: usize = 4300;

/// Whether a string or a key holds NUL, which PostgreSQL stores neither in text nor in `jsonb`.
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

/// Writes a value as the older server's answers hold it.
#[must_use]
pub fn render(value: &impl Serialize) -> Bytes {
    let mut out = Vec::new();
    append(&mut out, value);
    out.into()
}

/// Writes a value as [`render`] does, behind what is there.
pub fn append(out: &mut Vec<u8>, value: &impl Serialize) {
    let start = out.len();
    let mut writer = Serializer::with_formatter(&mut *out, PythonNumbers);
    // A memory buffer takes everything, and what is written here has string keys only.
    if let Err(error) = value.serialize(&mut writer) {
        tracing::error!(%error, "a value could not be written as JSON");
        out.truncate(start);
        out.extend_from_slice(&NULL);
    }
}

/// The text of a `jsonb` value, as PostgreSQL writes it, in the form of this server's answers.
///
/// Strings are the same in both; spaces between tokens go, and numbers are written as Python
/// writes them. Nothing is parsed into a tree, so that no depth is too deep.
///
/// # Errors
/// When it is no JSON.
pub fn from_jsonb(text: &str) -> Result<Box<RawValue>, serde_json::Error> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.bytes().next() {
        let token = match first {
            b' ' => {
                rest = &rest[1..];
                continue;
            }
            b'"' => string_length(rest),
            b'-' | b'0'..=b'9' => rest
                .find(|c: char| !matches!(c, '-' | '+' | '.' | 'e' | 'E' | '0'..='9'))
                .unwrap_or(rest.len()),
            _ => rest
                .find([
                    ' ', '"', '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9',
                ])
                .unwrap_or(rest.len()),
        };
        let (token, next) = rest.split_at(token);
        match first {
            b'-' | b'0'..=b'9' => out.push_str(&python_number(token)),
            _ => out.push_str(token),
        }
        rest = next;
    }
    RawValue::from_string(out)
}

/// How long the string at the beginning of a JSON text is, its quotes included.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    let end = text.bytes().skip(1).position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |end| end + 2)
}

/// The literal `null`.
pub const NULL: Bytes = Bytes::from_static(b"null");

/// The part `raw` of `payload` (or a `null` from elsewhere), as this server writes it: shared
/// where it already is, written anew where a peer wrote spaces or escapes. `None` where it
/// cannot be parsed.
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

/// Whether a valid JSON text has no white space between its tokens and no escape that this
/// server would write otherwise. Errs on the side of `false`.
fn is_compact(text: &[u8]) -> bool {
    let mut in_string = false;
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match (in_string, byte) {
            (_, b'"') => in_string = !in_string,
            (true, b'\\') => {
                if matches!(bytes.next(), None | Some(b'u' | b'/')) {
                    return false;
                }
            }
            (false, b' ' | b'\t' | b'\n' | b'\r') => return false,
            _ => {}
        }
    }
    true
}

/// `serde_json`'s compact form, with numbers as Python writes them.
struct PythonNumbers;

impl Formatter for PythonNumbers {
    fn write_number_str<W>(&mut self, writer: &mut W, number: &str) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        writer.write_all(python_number(number).as_bytes())
    }
}

fn is_integer(number: &str) -> bool {
    !number.contains(['.', 'e', 'E'])
}

/// A JSON number after a turn through Python: `int` exact, `float` by its `repr`.
pub(super) fn python_number(number: &str) -> Cow<'_, str> {
    if is_integer(number) {
        return Cow::Borrowed(if number == "-0" { "0" } else { number });
    }
    number
        .parse()
        .map_or(Cow::Borrowed(number), |value| Cow::Owned(float_repr(value)))
}

/// Python's `repr` of a float: the shortest digits that give it back, with an exponent below
/// 1e-4 and from 1e16 on.
#[must_use]
pub fn float_repr(value: f64) -> String {
    let scientific = format!("{value:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        // `inf`, `-inf` and `NaN` have no exponent; JSON texts hold none of them.
        return scientific;
    };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs());
    }
    let plain = format!("{value}");
    if plain.contains('.') {
        plain
    } else {
        plain + ".0"
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
    fn what_python_or_postgresql_cannot_hold_is_refused() {
        for text in ["1e999", "NaN", "[Infinity]", r#""\ud800""#, "", "{", "nul"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse("[".repeat(200).as_bytes()), None);
        assert!(holds_nul(&parse(br#"{"a":["\u0000"]}"#).unwrap()));
        assert!(holds_nul(&parse(br#"{"\u0000":1}"#).unwrap()));
    }

    /// Left: PostgreSQL's `jsonb::text`.
    #[test]
    fn jsonb_is_written_as_python_writes_it() {
        for (stored, written) in [
            ("null", "null"),
            ("{}", "{}"),
            (
                r#"[1, 2.50, -0.0, 100, 1.0, true, "x y"]"#,
                r#"[1,2.5,-0.0,100,1.0,true,"x y"]"#,
            ),
            (
                r#"{"a": "1.50 \" 2.50", "é": {"k": []}, "back": "\\", "n": null}"#,
                r#"{"a":"1.50 \" 2.50","é":{"k":[]},"back":"\\","n":null}"#,
            ),
            ("12345678901234567890123", "12345678901234567890123"),
            ("0.00000001", "1e-08"),
        ] {
            assert_eq!(from_jsonb(stored).unwrap().get(), written, "{stored}");
        }
        let deep = "[".repeat(5000) + &"]".repeat(5000);
        assert_eq!(from_jsonb(&deep).unwrap().get(), deep);
        assert!(from_jsonb(r#""open"#).is_err());
    }

    #[test]
    fn a_compact_part_is_shared_and_a_peers_is_written_anew() {
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
        /// Writing is stable: what was written once is compact and is written the same again.
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
