//! The validation errors of a request.

use std::fmt;
use std::fmt::Write as _;

/// The most errors that are kept; validation need not continue beyond them.
const MAX_ERRORS: usize = 20;
/// The longest part of a `loc`, escaped, in bytes: the name of a field may be as long as a body.
/// In JSON it is at most twice as long, so that [`MAX_ERRORS`] errors fit into 16 KiB.
const MAX_LOC_PART: usize = 256;

/// The validation errors of a request, in the order they were found, at most 20.
///
/// The text keeps the older server's form, without the rejected values, which may be scripts
/// or secrets, and without its file names and line numbers.
#[derive(Debug, Default)]
pub struct ValidationErrors(Vec<String>);

impl ValidationErrors {
    /// Adds an error. `loc` begins with `body`, `path` or `query`; only its last part may come
    /// from the client. `error_type` and `message` are ASCII texts of this server; the message
    /// has no double quote.
    pub fn add(&mut self, error_type: &str, loc: &[&str], message: &str) {
        if self.is_full() {
            return;
        }
        let mut text = format!("{{'type': '{error_type}', 'loc': (");
        for (i, part) in loc.iter().enumerate() {
            let separator = if i > 0 { ", " } else { "" };
            // Writing to a String cannot fail.
            let _ = write!(text, "{separator}'{}'", shortened(part));
        }
        if loc.len() == 1 {
            text.push(',');
        }
        let quote = if message.contains('\'') { '"' } else { '\'' };
        let _ = write!(text, "), 'msg': {quote}{message}{quote}}}");
        self.0.push(text);
    }

    /// Adds the error that a value is none of the allowed words.
    pub fn add_not_one_of(&mut self, loc: &[&str], allowed: &[&str]) {
        let quoted: Vec<String> = allowed.iter().map(|word| format!("'{word}'")).collect();
        let words = match quoted.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => quoted.concat(),
        };
        self.add("literal_error", loc, &format!("Input should be {words}"));
    }

    /// Returns true if further errors would be dropped.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.0.len() >= MAX_ERRORS
    }

    /// Returns true if there are no errors.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Escapes a part of a `loc`, and cuts it to [`MAX_LOC_PART`] bytes.
fn shortened(part: &str) -> String {
    let mut escaped = String::new();
    for c in part.chars() {
        let length = escaped.len();
        escaped.extend(c.escape_default());
        if escaped.len() > MAX_LOC_PART {
            escaped.truncate(length);
            escaped.push_str("...");
            break;
        }
    }
    escaped
}

/// The `message` of a 422 response.
impl fmt::Display for ValidationErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.0.len() == 1 { "" } else { "s" };
        write!(f, "{} validation error{plural}:", self.0.len())?;
        self.0.iter().try_for_each(|error| write!(f, " {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_joined_as_the_older_server_writes_them() {
        let mut errors = ValidationErrors::default();
        errors.add("missing", &["body", "value"], "Field required");
        errors.add("missing", &["body"], "Field required");
        assert_eq!(
            errors.to_string(),
            "2 validation errors: \
             {'type': 'missing', 'loc': ('body', 'value'), 'msg': 'Field required'} \
             {'type': 'missing', 'loc': ('body',), 'msg': 'Field required'}"
        );
    }

    #[test]
    fn errors_are_limited_in_number_and_size() {
        let mut errors = ValidationErrors::default();
        for key in ["\\".repeat(1_000_000), "\u{10ffff}".repeat(1_000_000)] {
            for _ in 0..MAX_ERRORS {
                errors.add("string_type", &["body", &key], "Input should be a string");
            }
        }
        assert!(errors.is_full());
        let text = errors.to_string();
        assert!(text.starts_with("20 validation errors: "), "{text}");
        let in_json = serde_json::to_string(&text).unwrap();
        assert!(in_json.len() < 16 * 1024, "{} bytes", in_json.len());

        let mut errors = ValidationErrors::default();
        errors.add("missing", &["body", &"k".repeat(MAX_LOC_PART)], "");
        errors.add("missing", &["body", &"k".repeat(MAX_LOC_PART + 1)], "");
        let text = errors.to_string();
        assert!(text.contains("k')") && text.contains("k...')"), "{text}");
    }

    #[test]
    fn allowed_words_are_listed_as_the_older_server_lists_them() {
        let mut errors = ValidationErrors::default();
        errors.add_not_one_of(&["query", "a"], &["x", "y", "z"]);
        errors.add_not_one_of(&["query", "b"], &["x"]);
        assert_eq!(
            errors.to_string(),
            "2 validation errors: \
             {'type': 'literal_error', 'loc': ('query', 'a'), \
             'msg': \"Input should be 'x', 'y' or 'z'\"} \
             {'type': 'literal_error', 'loc': ('query', 'b'), 'msg': \"Input should be 'x'\"}"
        );
    }
}
