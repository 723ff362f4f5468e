//! JSON in the default form of Python's `json.dumps`: a space after each separator, and non-ASCII
//! characters escaped. Messages on RabbitMQ have this form.

use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

use crate::model::json::python_number;

/// Writes a value as `json.dumps(value)` does.
#[must_use]
pub fn dumps(value: &impl Serialize) -> String {
    let mut out = Vec::new();
    let written = value.serialize(&mut Serializer::with_formatter(&mut out, Spaced));
    // Writing to memory cannot fail, and all values written here have string keys.
    match written.map(|()| String::from_utf8(out)) {
        Ok(Ok(text)) => text,
        failed => {
            tracing::error!(?failed, "serializing a value failed: null is sent instead");
            "null".to_owned()
        }
    }
}

struct Spaced;

impl Formatter for Spaced {
    fn write_number_str<W>(&mut self, writer: &mut W, number: &str) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        writer.write_all(python_number(number).as_bytes())
    }

    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        let mut rest = fragment;
        while let Some((end, c)) = rest.char_indices().find(|(_, c)| !matches!(c, ' '..='~')) {
            writer.write_all(&rest.as_bytes()[..end])?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = &rest[end + c.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }

    fn begin_array_value<W>(&mut self, writer: &mut W, first: bool) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        separate(writer, first)
    }

    fn begin_object_key<W>(&mut self, writer: &mut W, first: bool) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        separate(writer, first)
    }

    fn begin_object_value<W>(&mut self, writer: &mut W) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        writer.write_all(b": ")
    }
}

fn separate(writer: &mut (impl io::Write + ?Sized), first: bool) -> io::Result<()> {
    writer.write_all(if first { b"" } else { b", " })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// What `json.dumps(json.loads(text))` gives.
    #[test]
    fn values_are_written_as_python_writes_them() {
        for (given, written) in [
            (
                r#"{"a":1,"b":[true,null],"c":{}}"#,
                r#"{"a": 1, "b": [true, null], "c": {}}"#,
            ),
            ("[]", "[]"),
            ("[1.50,1e16,-0]", "[1.5, 1e+16, 0]"),
            (r#""aé☃😀b""#, r#""a\u00e9\u2603\ud83d\ude00b""#),
            ("\"\u{7f}\"", r#""\u007f""#),
            (r#""\u0000\u001f\n\t\"\\\/""#, r#""\u0000\u001f\n\t\"\\/""#),
            (r#"{"ü":"ü"}"#, r#"{"\u00fc": "\u00fc"}"#),
        ] {
            let value: Value = serde_json::from_str(given).unwrap();
            assert_eq!(dumps(&value), written, "{given}");
        }
    }
}
