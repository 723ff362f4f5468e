//! Canonical JSON, whose digests are part of the job caches' keys.
//!
//! Python's `json.dumps(value, sort_keys=True, separators=(",", ":"))`: keys sorted by code
//! point, everything but printable ASCII escaped, floats by their `repr`.

use std::fmt::Write as _;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::model::hex;
use crate::model::json::python_number;

/// The SHA-256 of a value's canonical form, in hexadecimal digits.
#[must_use]
pub fn digest(value: &Value) -> String {
    hex(&Sha256::digest(canonical(value)))
}

fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write(&mut text, value);
    text
}

fn write(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => out.push_str(&python_number(number.as_str())),
        Value::String(text) => write_string(out, text),
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write(out, item);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            // The order of UTF-8 is that of code points.
            let mut keys: Vec<&String> = fields.keys().collect();
            keys.sort_unstable();
            out.push('{');
            for (i, key) in keys.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_string(out, key);
                out.push(':');
                write(out, &fields[key]);
            }
            out.push('}');
        }
    }
}

fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            ' '..='~' => out.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded keys of the older server.
    #[test]
    fn digests_are_those_of_the_older_server() {
        for (text, expected) in [
            (
                r#"{"filters":null,"include_run":false,"limit":1,"offset":0,"order_by":"start","order_direction":"desc","user_number":null}"#,
                "8f83e474a95422571d8cab4097ac582b8c55b67ca654e5d6bff8b1d0609145c9",
            ),
            (
                r#"{"filters":{"experiment_number_after":1.0,"instrument_in":["MARI"],"title":"\u00e9\ud83d\ude00"},"include_run":true,"limit":1,"offset":0,"order_by":"start","order_direction":"desc","user_number":1234}"#,
                "9404a22518b4454fd0cde7ad4bfdd6adbb605b869b809495a05178f890e0bed8",
            ),
            (
                r#"{"order_direction":"asc","filters":null,"include_run":false,"instrument":"MARI","limit":2,"offset":0,"order_by":"id","user_number":null}"#,
                "b3bf7eded9bc8748d3c311c0261b2332f19e461933fb752281a6fbbd977357f7",
            ),
            (
                r#"{"instrument":"MARI","filters":null}"#,
                "e22c1dd7b0a39ae0ea9ac65273fa348dab68c4e2f5a3678acbdd657cd209e2d7",
            ),
            (
                r#"{"filters":null}"#,
                "cedaaad1f26f269dd47cc833fcb633307bbaaa9bc15bf36b600716bb92938f55",
            ),
            (
                r#"{"filters":{}}"#,
                "c75966b2403b0433db40c05898902c770a510d4961bc52dbdbca2885fc7e9d9d",
            ),
            (
                r#"{"filters":{"experiment_number_after":1e2}}"#,
                "ab83971ca910d3d7201eea70dd3a6503996c8a70509245a656f2777f394fd4db",
            ),
            (
                r#"{"filters":{"title":"a\u2028\u007f/\u0001\"\\"}}"#,
                "ed4fd94c519654cc4d220d57794b526070cacd70ef098a04523503c67dcfd4e4",
            ),
        ] {
            let value: Value = serde_json::from_str(text).unwrap();
            assert_eq!(digest(&value), expected, "{text}");
        }
    }

    #[test]
    fn texts_are_those_of_python() {
        for (given, expected) in [
            (
                r#"{"b":1,"a":[true,null,-0],"B":{}}"#,
                r#"{"B":{},"a":[true,null,0],"b":1}"#,
            ),
            (
                "[100.0,1e16,1e-5,-0.0,12345678901234567890123]",
                "[100.0,1e+16,1e-05,-0.0,12345678901234567890123]",
            ),
            (
                r#"{"\uffff":1,"\ud83d\ude00":2}"#,
                r#"{"\uffff":1,"\ud83d\ude00":2}"#,
            ),
            (r#""\b\f\n\r\t\u0000 ~""#, r#""\b\f\n\r\t\u0000 ~""#),
        ] {
            let value: Value = serde_json::from_str(given).unwrap();
            assert_eq!(canonical(&value), expected, "{given}");
        }
    }
}
