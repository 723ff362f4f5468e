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

    fn check(header: &[u8], value: &str, name: &str, expected: Option<&str>) {
        let parsed = Parameterised::parse(header);
        assert_eq!(parsed.value, value, "{}", header.escape_ascii());
        assert_eq!(parsed.get(name), expected, "{}", header.escape_ascii());
    }

    #[test]
    fn boundaries_are_parsed_as_by_the_older_server() {
        for (header, boundary) in [
            ("multipart/form-data; boundary=x", Some("x")),
            ("Multipart/Form-Data; Boundary=X", Some("X")),
            ("multipart/form-data ;boundary = x ", Some("x")),
            ("multipart/form-data; boundary=a=b:c/d?e", Some("a=b:c/d?e")),
            ("multipart/form-data; boundary=a; boundary=b", Some("b")),
            ("multipart/form-data; boundary=\"a;b\"", Some("a;b")),
            ("multipart/form-data", None),
            ("multipart/form-data; boundary", None),
        ] {
            let header = header.as_bytes();
            check(header, "multipart/form-data", "boundary", boundary);
        }
        check(b"", "", "boundary", None);
    }

    #[test]
    fn field_names_are_parsed_as_by_the_older_server() {
        let both = b"form-data; NAME=\"file\"; FileName=\"a.txt\"";
        check(both, "form-data", "name", Some("file"));
        check(both, "form-data", "filename", Some("a.txt"));
        let escaped = b"form-data; filename=\"\\\"a\\\\b\\\".txt\"";
        check(escaped, "form-data", "filename", Some("\"a\\b\".txt"));
        let bracketed = b"form-data; name=<file>";
        check(bracketed, "form-data", "name", Some("file"));
        let latin1 = b"form-data; name=\"\xe9\"";
        check(latin1, "form-data", "name", Some("é"));
        let utf8 = "form-data; name=\"é\"".as_bytes();
        check(utf8, "form-data", "name", Some("é"));
        let unclosed = b"form-data; name=\"";
        check(unclosed, "form-data", "name", Some("\""));
    }
}
