//! Values of PostgreSQL's `jsonb`, converted without parsing them into a tree.

use serde_json::value::RawValue;

use crate::model::json::python_number;

/// Converts the text of a `jsonb` value, as PostgreSQL writes it, to the form of responses.
///
/// Strings are the same in both; spaces between tokens are removed, and numbers are written as
/// Python writes them. Nothing is parsed into a tree, so no nesting is too deep.
///
/// # Errors
/// If the text is not JSON.
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

/// The length in bytes of the string at the start of a JSON text, with its quotes.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    let end = text.bytes().skip(1).position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |end| end + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
