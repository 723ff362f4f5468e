//! Header values with parameters (`multipart/form-data; boundary=x`), as the older server's parser
//! takes them: that of Python's `email` package.

/// A header value: what stands before the first `;`, and the parameters after it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parameterised {
    /// In lower case, trimmed.
    pub(super) value: String,
    parameters: Vec<(String, String)>,
}

impl Parameterised {
    /// Parses a header value. Takes any bytes: those that are not UTF-8 are read as Latin-1.
    pub(super) fn parse(header: &[u8]) -> Self {
        let text = decode(header);
        let mut parts = split(&text).into_iter();
        let value = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
        let parameters = parts.filter_map(|part| {
            let (name, value) = part.split_once('=')?;
            Some((name.trim().to_ascii_lowercase(), unquote(value.trim())))
        });
        Self {
            value,
            parameters: parameters.collect(),
        }
    }

    /// The parameter of this lower-case name; the last one where it is given twice.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut named = self.parameters.iter().rev().filter(|(key, _)| key == name);
        named.next().map(|(_, value)| value.as_str())
    }
}

fn decode(header: &[u8]) -> String {
    match std::str::from_utf8(header) {
        Ok(text) => text.to_owned(),
        Err(_) => header.iter().copied().map(char::from).collect(),
    }
}

/// Splits at semicolons outside of quotation marks.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut start) = (Vec::new(), 0);
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' if !escaped => quoted = !quoted,
            b';' if !quoted => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        escaped = byte == b'\\' && !escaped;
    }
    parts.push(&text[start..]);
    parts
}

/// Removes quotation marks or angle brackets around a value, and the escapes within quotation marks.
fn unquote(value: &str) -> String {
    let within = |open, close| value.strip_prefix(open)?.strip_suffix(close);
    match (within('"', '"'), within('<', '>')) {
        (Some(quoted), _) => quoted.replace("\\\\", "\\").replace("\\\"", "\""),
        (None, Some(bracketed)) => bracketed.to_owned(),
        (None, None) => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_parsed_as_by_the_older_server() {
        for (header, value, name, expected) in [
            (
                &b"multipart/form-data; boundary=x"[..],
                "multipart/form-data",
                "boundary",
                Some("x"),
            ),
            (
                b"Multipart/Form-Data; Boundary=X",
                "multipart/form-data",
                "boundary",
                Some("X"),
            ),
            (
                b"multipart/form-data ;boundary = x ",
                "multipart/form-data",
                "boundary",
                Some("x"),
            ),
            (
                b"multipart/form-data; boundary=a=b:c/d?e",
                "multipart/form-data",
                "boundary",
                Some("a=b:c/d?e"),
            ),
            (
                b"multipart/form-data; boundary=a; boundary=b",
                "multipart/form-data",
                "boundary",
                Some("b"),
            ),
            (
                b"multipart/form-data; boundary=\"a;b\"",
                "multipart/form-data",
                "boundary",
                Some("a;b"),
            ),
            (
                b"multipart/form-data",
                "multipart/form-data",
                "boundary",
                None,
            ),
            (
                b"multipart/form-data; boundary",
                "multipart/form-data",
                "boundary",
                None,
            ),
            (
                b"form-data; NAME=\"file\"; FileName=\"a.txt\"",
                "form-data",
                "name",
                Some("file"),
            ),
            (
                b"form-data; name=file; filename=\"\\\"a\\\\b\\\".txt\"",
                "form-data",
                "filename",
                Some("\"a\\b\".txt"),
            ),
            (b"form-data; name=<file>", "form-data", "name", Some("file")),
            (b"form-data; name=\"\xe9\"", "form-data", "name", Some("é")),
            (
                "form-data; name=\"é\"".as_bytes(),
                "form-data",
                "name",
                Some("é"),
            ),
            (b"", "", "name", None),
            (b"form-data; name=\"", "form-data", "name", Some("\"")),
        ] {
            let parsed = Parameterised::parse(header);
            assert_eq!(parsed.value, value, "{}", header.escape_ascii());
            assert_eq!(parsed.get(name), expected, "{}", header.escape_ascii());
        }
    }
}
