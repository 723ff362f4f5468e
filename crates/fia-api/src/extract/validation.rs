//! What is wrong with a request's values.

use std::fmt::Write as _;

use crate::error::ApiError;

/// The errors of a request, in the order they were found.
///
/// The text keeps the older server's form, without the rejected values, which may be scripts
/// or secrets, and without its file names and line numbers.
#[derive(Debug, Default)]
pub struct ValidationErrors(Vec<String>);

impl ValidationErrors {
    /// Notes an error: its kind, where it is (`body`, `path` or `query` first), and what it is,
    /// all in plain ASCII words of ours but for the last part of `loc`.
    pub fn add(&mut self, kind: &str, loc: &[&str], message: &str) {
        let mut text = format!("{{'type': '{kind}', 'loc': (");
        for (i, part) in loc.iter().enumerate() {
            let separator = if i > 0 { ", " } else { "" };
            // Writing to a String cannot fail.
            let _ = write!(text, "{separator}'{}'", part.escape_default());
        }
        if loc.len() == 1 {
            text.push(',');
        }
        let _ = write!(text, "), 'msg': '{message}'}}");
        self.0.push(text);
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The answer to the request.
    #[must_use]
    pub fn into_error(self) -> ApiError {
        let plural = if self.0.len() == 1 { "" } else { "s" };
        ApiError::Invalid(format!(
            "{} validation error{plural}: {}",
            self.0.len(),
            self.0.join(" ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_stand_together_as_the_older_server_writes_them() {
        let mut errors = ValidationErrors::default();
        errors.add("missing", &["body", "value"], "Field required");
        errors.add("missing", &["body"], "Field required");
        assert_eq!(
            errors.into_error(),
            ApiError::Invalid(
                "2 validation errors: \
                 {'type': 'missing', 'loc': ('body', 'value'), 'msg': 'Field required'} \
                 {'type': 'missing', 'loc': ('body',), 'msg': 'Field required'}"
                    .to_owned()
            )
        );
    }
}
