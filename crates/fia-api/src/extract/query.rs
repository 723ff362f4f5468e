//! Query parameters.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::extract::Input;
use crate::model::input::{ValidationErrors, coerce};

/// Parses the parameters of a query and collects their validation errors.
pub struct Query<'a> {
    raw: &'a str,
    errors: &'a mut ValidationErrors,
}

impl<'a> Query<'a> {
    /// The query of a request.
    pub fn of(input: &'a Input, errors: &'a mut ValidationErrors) -> Self {
        Self {
            raw: input.raw_query(),
            errors,
        }
    }

    /// A decoded text. The last of repeated parameters wins.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        let mut pairs = self.raw.rsplit('&').filter(|pair| !pair.is_empty());
        pairs.find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(key) == name).then(|| decoded(value))
        })
    }

    /// A count, 0 if the parameter is absent. Negative numbers and numbers beyond PostgreSQL's
    /// `bigint` are rejected.
    pub fn count(&mut self, name: &str) -> i64 {
        let Some(text) = self.text(name) else {
            return 0;
        };
        let loc = ["query", name];
        match coerce::integer(&text).map(i64::try_from) {
            Some(Ok(count)) if count >= 0 => return count,
            Some(_) => self
                .errors
                .add("value_error", &loc, "Input should be from 0 to 2^63-1"),
            None => self.errors.add(
                "int_parsing",
                &loc,
                "Input should be a valid integer, unable to parse string as an integer",
            ),
        }
        0
    }

    /// A boolean, false if the parameter is absent.
    pub fn flag(&mut self, name: &str) -> bool {
        let given = self.text(name).map(|text| coerce::boolean(&text));
        if given == Some(None) {
            let message = "Input should be a valid boolean, unable to interpret input";
            self.errors.add("bool_parsing", &["query", name], message);
        }
        given.flatten().unwrap_or(false)
    }

    /// One of the allowed values, by its word; `default` if the parameter is absent.
    pub fn choice<T: Copy>(
        &mut self,
        name: &str,
        default: T,
        allowed: &[T],
        word: fn(T) -> &'static str,
    ) -> T {
        let Some(text) = self.text(name) else {
            return default;
        };
        if let Some(value) = allowed.iter().find(|value| word(**value) == text) {
            return *value;
        }
        let words: Vec<&str> = allowed.iter().map(|value| word(*value)).collect();
        self.errors.add_not_one_of(&["query", name], &words);
        default
    }
}

/// A key or value as HTML forms encode them. Undecodable UTF-8 becomes U+FFFD.
fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('+') {
        return percent_decode_str(text).decode_utf8_lossy();
    }
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8_lossy().into_owned();
    Cow::Owned(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T>(raw: &str, read: impl FnOnce(&mut Query<'_>) -> T) -> (T, bool) {
        let mut errors = ValidationErrors::default();
        let value = read(&mut Query {
            raw,
            errors: &mut errors,
        });
        (value, errors.is_empty())
    }

    #[test]
    fn texts_are_decoded_and_the_last_counts() {
        for (raw, text) in [
            ("", None),
            ("b=1", None),
            ("a", Some("")),
            ("a=", Some("")),
            ("a=1&a=2", Some("2")),
            ("a=1&&a=2&b=3&", Some("2")),
            ("%61=x+y%2B%20z", Some("x y+ z")),
            ("a=b=c;d", Some("b=c;d")),
            ("a=%FF", Some("\u{fffd}")),
            ("a={\"title\":\"x\"}", Some("{\"title\":\"x\"}")),
        ] {
            let (found, _) = read(raw, |query| query.text("a").map(Cow::into_owned));
            assert_eq!(found.as_deref(), text, "{raw}");
        }
    }

    #[test]
    fn values_are_checked() {
        for (raw, count, fine) in [
            ("", 0, true),
            ("n=7", 7, true),
            ("n=9223372036854775807", i64::MAX, true),
            ("n=9223372036854775808", 0, false),
            ("n=-1", 0, false),
            ("n=x", 0, false),
            ("n=", 0, false),
        ] {
            assert_eq!(read(raw, |query| query.count("n")), (count, fine), "{raw}");
        }
        for (raw, flag, fine) in [
            ("", false, true),
            ("n=yes", true, true),
            ("n=", false, false),
        ] {
            assert_eq!(read(raw, |query| query.flag("n")), (flag, fine), "{raw}");
        }
        let word: fn(char) -> &'static str = |value| if value == 'x' { "x" } else { "why" };
        for (raw, choice, fine) in [
            ("", 'd', true),
            ("n=x", 'x', true),
            ("n=why", 'y', true),
            ("n=", 'd', false),
        ] {
            let chosen = read(raw, |query| query.choice("n", 'd', &['x', 'y'], word));
            assert_eq!(chosen, (choice, fine), "{raw}");
        }
    }
}
