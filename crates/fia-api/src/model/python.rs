//! Python's text conventions: `str`, `repr`, `int` and `splitlines`. Reduction scripts are written
//! in Python and must be edited exactly as the older server edits them.

use std::fmt::Write as _;

use serde_json::Value;

use crate::model::json::{MAX_INT_DIGITS, python_number};

/// Python's `str()` of a JSON value: a string without quotes, everything else as its [`repr`].
#[must_use]
pub fn python_str(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => repr(other),
    }
}

/// Python's `repr()` of a JSON value: `None`, `True`, `1e-07`, `'text'`, `[1, 'a']`,
/// `{'a': 1}`.
#[must_use]
pub fn repr(value: &Value) -> String {
    let mut out = String::new();
    write_repr(&mut out, value);
    out
}

fn write_repr(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Number(number) => out.push_str(&python_number(number.as_str())),
        Value::String(text) => write_text_repr(out, text),
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                separate(out, i);
                write_repr(out, item);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            out.push('{');
            for (i, (key, item)) in fields.iter().enumerate() {
                separate(out, i);
                write_text_repr(out, key);
                out.push_str(": ");
                write_repr(out, item);
            }
            out.push('}');
        }
    }
}

fn separate(out: &mut String, index: usize) {
    if index > 0 {
        out.push_str(", ");
    }
}

/// Writes a text in single quotes, or in double quotes where that saves an escape.
fn write_text_repr(out: &mut String, text: &str) {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    out.push(quote);
    for c in text.chars() {
        // Writing to a String cannot fail.
        let _ = match c {
            '\n' => write!(out, "\\n"),
            '\r' => write!(out, "\\r"),
            '\t' => write!(out, "\\t"),
            '\\' => write!(out, "\\\\"),
            c if c == quote => write!(out, "\\{c}"),
            c if is_printable(c) => write!(out, "{c}"),
            c if u32::from(c) <= 0xff => write!(out, "\\x{:02x}", u32::from(c)),
            c if u32::from(c) <= 0xffff => write!(out, "\\u{:04x}", u32::from(c)),
            c => write!(out, "\\U{:08x}", u32::from(c)),
        };
    }
    out.push(quote);
}

/// Python's `str.isprintable` of one character. The standard library uses the same table for
/// `Debug`; a leading character keeps it from escaping combining characters too.
fn is_printable(c: char) -> bool {
    if matches!(c, ' '..='~') {
        return true;
    }
    let text = String::from_iter(['a', c]);
    text.escape_debug().eq(text.chars())
}

/// Python's `str.splitlines()`: a final line break does not start another line.
pub fn split_lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let Some((end, c)) = rest.char_indices().find(|(_, c)| ends_line(*c)) else {
            return Some(std::mem::take(&mut rest));
        };
        let line = &rest[..end];
        let broken = &rest[end..];
        let width = if broken.starts_with("\r\n") {
            2
        } else {
            c.len_utf8()
        };
        rest = &broken[width..];
        Some(line)
    })
}

/// Whether `\n` is surely the only line break of a text, which is found quickly: its characters are
/// ASCII, and no other control characters than tabs.
#[must_use]
pub fn breaks_by_newlines_only(text: &str) -> bool {
    let is_plain = |byte: &u8| matches!(byte, b'\n' | b'\t' | b' '..=b'~');
    // Without an early exit within a chunk, the compiler uses vector instructions.
    let mut chunks = text.as_bytes().chunks(64);
    chunks.all(|chunk| {
        chunk
            .iter()
            .fold(true, |plain, byte| plain & is_plain(byte))
    })
}

fn ends_line(c: char) -> bool {
    matches!(
        c,
        '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
    )
}

/// Python's `int()` of a text: surrounding white space, a sign, and single underscores between
/// digits are accepted. Saturates at 128 bits.
#[must_use]
pub fn python_int(text: &str) -> Option<i128> {
    parse_digits(text.trim())
}

/// Parses what `int()` accepts, without surrounding white space. Saturates at 128 bits.
pub(in crate::model) fn parse_digits(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let groups = || digits.split('_');
    let is_number = |group: &str| !group.is_empty() && group.bytes().all(|b| b.is_ascii_digit());
    if digits.len() > MAX_INT_DIGITS || !groups().all(is_number) {
        return None;
    }
    let magnitude = groups().flat_map(str::bytes).fold(0_i128, |number, digit| {
        number
            .saturating_mul(10)
            .saturating_add(i128::from(digit - b'0'))
    });
    Some(if negative { -magnitude } else { magnitude })
}

/// Python's `PurePosixPath(path).stem`: the last component without its last suffix.
#[must_use]
pub fn path_stem(path: &str) -> &str {
    let name = path
        .rsplit('/')
        .find(|part| !matches!(*part, "" | "."))
        .unwrap_or_default();
    match name.rfind('.') {
        Some(dot) if dot > 0 && dot + 1 < name.len() => &name[..dot],
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    /// What `repr(json.loads(text))` gives.
    #[test]
    fn values_are_written_as_python_writes_them() {
        for (given, written) in [
            ("null", "None"),
            ("true", "True"),
            ("false", "False"),
            ("12", "12"),
            ("-0", "0"),
            ("0.0", "0.0"),
            ("2.50", "2.5"),
            ("1e16", "1e+16"),
            ("0.0000001", "1e-07"),
            (
                "123456789012345678901234567890",
                "123456789012345678901234567890",
            ),
            ("[]", "[]"),
            ("{}", "{}"),
            (r#"[1, 2.0, "a", null]"#, "[1, 2.0, 'a', None]"),
            (r#"{"a": 1, "b": ["c"]}"#, "{'a': 1, 'b': ['c']}"),
            (r#""it's""#, r#""it's""#),
            (r#""say \"it\"""#, r#"'say "it"'"#),
            (r#""it's \"it\"""#, r#"'it\'s "it"'"#),
            (r#""a\\b\n\r\t\b""#, r"'a\\b\n\r\t\x08'"),
            (r#""é☃😀e\u0301""#, "'é☃😀e\u{301}'"),
            (
                r#""\u007f\u00a0\u00ad\u200b\u2028\ufeff""#,
                r"'\x7f\xa0\xad\u200b\u2028\ufeff'",
            ),
            (r#""\udb40\udc01""#, r"'\U000e0001'"),
        ] {
            assert_eq!(repr(&value(given)), written, "{given}");
        }
    }

    #[test]
    fn a_string_by_itself_stands_bare() {
        assert_eq!(python_str(&value(r#""it's""#)), "it's");
        assert_eq!(python_str(&value(r#"["it's"]"#)), r#"["it's"]"#);
    }

    #[test]
    fn lines_end_where_python_ends_them() {
        let lines = |text| split_lines(text).collect::<Vec<_>>();
        assert_eq!(lines(""), [""; 0]);
        assert_eq!(lines("\n"), [""]);
        assert_eq!(lines("a\r\nb\rc\n\rd"), ["a", "b", "c", "", "d"]);
        assert_eq!(
            lines("a\u{b}b\u{c}c\u{1c}d\u{1d}e\u{1e}f\u{85}g\u{2028}h\u{2029}i\u{1f}j"),
            ["a", "b", "c", "d", "e", "f", "g", "h", "i\u{1f}j"]
        );
    }

    #[test]
    fn integers_are_read_as_python_reads_them() {
        for (text, number) in [
            ("1820497", Some(1_820_497)),
            (" +5\n", Some(5)),
            ("\u{a0}-1\u{85}", Some(-1)),
            ("1_000", Some(1000)),
            ("007", Some(7)),
            ("1__0", None),
            ("_1", None),
            ("1_", None),
            ("1.0", None),
            ("+", None),
            ("- 1", None),
            ("", None),
            ("99999999999999999999", Some(99_999_999_999_999_999_999)),
        ] {
            assert_eq!(python_int(text), number, "{text:?}");
        }
    }

    /// What `pathlib.PurePosixPath(path).stem` gives.
    #[test]
    fn stems_are_as_python_has_them() {
        for (path, stem) in [
            ("/a/MAR1.nxs", "MAR1"),
            ("a.tar.gz", "a.tar"),
            ("a/b/", "b"),
            ("a/b.nxs/.", "b"),
            (".hidden", ".hidden"),
            ("a.", "a."),
            ("..", ".."),
            ("/", ""),
            ("", ""),
        ] {
            assert_eq!(path_stem(path), stem, "{path:?}");
        }
    }

    proptest! {
        /// Joined again, the lines are the text but for its kinds of breaks and the last one.
        #[test]
        fn no_character_of_a_line_is_lost(lines in prop::collection::vec("[^\n\r\u{b}\u{c}\u{1c}-\u{1e}\u{85}\u{2028}\u{2029}]{0,9}", 0..9)) {
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            prop_assert_eq!(split_lines(&text).collect::<Vec<_>>(), lines);
        }
    }
}
