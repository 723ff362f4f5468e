//! The validation errors of a request.

use std::fmt;
use std::fmt::Write as _;

/// The validation errors of a request, in the order they were found.
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
        let mut text = format!("{{'type': '{error_type}', 'loc': (");
        for (i, part) in loc.iter().enumerate() {
            let separator = if i > 0 { ", " } else { "" };
            // Writing to a String cannot fail.
            let _ = write!(text, "{separator}'{}'", part.escape_default());
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

    /// Returns true if there are no errors.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
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
