//! Filters of job lists and counts: a JSON object whose conditions are combined with AND.

mod keys;

use serde_json::Value;

use crate::model::JobState;
use crate::model::json::{self, holds_nul};
use keys::keys;

/// Rejected filters. The texts are for the log: they hold no value of the request, and of an
/// unknown key its beginning.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadFilter {
    /// The text is not a JSON object, or holds what PostgreSQL cannot store.
    #[error("filters are not a JSON object without NUL")]
    NotAnObject,
    /// A key that is no filter.
    #[error("unknown filter {key:?}, allowed are {}", keys().collect::<Vec<_>>().join(", "))]
    UnknownKey {
        /// The key, truncated.
        key: String,
    },
    /// A value of the wrong type or range.
    #[error("the value of filter {key} has the wrong type or range")]
    BadValue {
        /// The key.
        key: &'static str,
    },
}

/// The filters of a request: their conditions, and the JSON value they were parsed from, which
/// is part of the cache key.
#[derive(Debug, Clone, PartialEq)]
pub struct Filters {
    conditions: Vec<Condition>,
    value: Value,
}

/// A condition on a job, its run, or that run's owner and instrument. NULL matches no
/// condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// The run's instrument is one of these, case-sensitively.
    InstrumentIn(Vec<String>),
    /// The state is one of these.
    StateIn(Vec<JobState>),
    /// The experiment number of the run's owner is one of these.
    ExperimentIn(Vec<i32>),
    /// The experiment number is at most this.
    ExperimentAtMost(i64),
    /// The experiment number is at least this.
    ExperimentAtLeast(i64),
    /// The text contains this, case-insensitively.
    Contains(TextField, String),
    /// The timestamp is before this one, which PostgreSQL parses.
    Before(TimeField, String),
    /// The timestamp is after this one.
    After(TimeField, String),
}

/// A searchable text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextField {
    /// The run's title.
    Title,
    /// The run's file name.
    Filename,
}

/// A comparable timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeField {
    /// The start of the job.
    JobStart,
    /// The end of the job.
    JobEnd,
    /// The start of the run.
    RunStart,
    /// The end of the run.
    RunEnd,
}

impl Filters {
    /// Parses the query parameter. An absent parameter and every value that is falsy in Python
    /// mean no filter, as in the older server.
    ///
    /// # Errors
    /// [`BadFilter`] for anything but a JSON object of known keys with valid values.
    pub fn parse(text: Option<&str>) -> Result<Self, BadFilter> {
        let value = match text {
            None | Some("") => Value::Null,
            Some(text) => json::parse(text.as_bytes()).ok_or(BadFilter::NotAnObject)?,
        };
        if holds_nul(&value) {
            return Err(BadFilter::NotAnObject);
        }
        let conditions = match &value {
            Value::Object(fields) => {
                let condition = |(key, value): (&String, _)| keys::condition(key, value);
                fields.iter().map(condition).collect::<Result<_, _>>()?
            }
            other if is_false(other) => Vec::new(),
            _ => return Err(BadFilter::NotAnObject),
        };
        Ok(Self { conditions, value })
    }

    /// The conditions, in the order of the request.
    #[must_use]
    pub fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    /// The parsed JSON value.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.value
    }
}

fn is_false(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

impl Condition {
    /// Returns true if the older server matches the same rows. It interprets `%`, `_` and `\` in
    /// a search as pattern characters.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        !matches!(self, Self::Contains(_, text) if text.contains(['%', '_', '\\']))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(text: &str) -> Vec<Condition> {
        Filters::parse(Some(text)).unwrap().conditions
    }

    #[test]
    fn values_that_are_falsy_in_python_are_no_filter() {
        assert_eq!(Filters::parse(None).unwrap().value, Value::Null);
        for text in [
            "", "null", "0", "-0", "0.0", "false", r#""""#, "[]", "{}", " {} ",
        ] {
            assert_eq!(conditions(text), [], "{text}");
        }
    }

    #[test]
    fn conditions_keep_their_order_and_the_last_of_a_repeated_key_wins() {
        let text = r#"{"title": "x", "job_state_in": ["ERROR"], "title": "y"}"#;
        assert_eq!(
            conditions(text),
            [
                Condition::Contains(TextField::Title, "y".to_owned()),
                Condition::StateIn(vec![JobState::Error]),
            ]
        );
    }

    #[test]
    fn values_are_coerced_as_in_the_older_server() {
        use Condition::{
            Contains, ExperimentAtLeast, ExperimentAtMost, ExperimentIn, InstrumentIn,
        };
        for (text, condition) in [
            (
                r#"{"instrument_in": ["MARI", null]}"#,
                InstrumentIn(vec!["MARI".to_owned()]),
            ),
            (
                r#"{"experiment_number_in": [1, "2", 3.0, 3.5, 99999999999, null, " -4 "]}"#,
                ExperimentIn(vec![1, 2, 3, -4]),
            ),
            (r#"{"experiment_number_after": 1.5}"#, ExperimentAtLeast(2)),
            (r#"{"experiment_number_before": 1.5}"#, ExperimentAtMost(1)),
            (
                r#"{"experiment_number_before": -1.5}"#,
                ExperimentAtMost(-2),
            ),
            (
                r#"{"experiment_number_after": "100070"}"#,
                ExperimentAtLeast(100_070),
            ),
            (
                r#"{"experiment_number_after": 1e300}"#,
                ExperimentAtLeast(i64::MAX),
            ),
            (
                r#"{"experiment_number_before": 123456789012345678901234}"#,
                ExperimentAtMost(i64::MAX),
            ),
            (
                r#"{"title": 1e2}"#,
                Contains(TextField::Title, "100.0".to_owned()),
            ),
            (
                r#"{"filename": 7}"#,
                Contains(TextField::Filename, "7".to_owned()),
            ),
        ] {
            assert_eq!(conditions(text), [condition], "{text}");
        }
    }

    #[test]
    fn invalid_filters_are_rejected() {
        for text in [
            " ",
            "{",
            "\u{feff}{}",
            "NaN",
            "1",
            "true",
            "[1]",
            r#""abc""#,
            r#"{"no": 1}"#,
            r#"{"instrument_in": "MARI"}"#,
            r#"{"instrument_in": [1]}"#,
            r#"{"job_state_in": ["NOPE"]}"#,
            r#"{"job_state_in": {}}"#,
            r#"{"experiment_number_in": ["x"]}"#,
            r#"{"experiment_number_in": [true]}"#,
            r#"{"experiment_number_in": 1}"#,
            r#"{"title": null}"#,
            r#"{"title": true}"#,
            r#"{"title": {}}"#,
            r#"{"title": ["a"]}"#,
            r#"{"title": "\u0000"}"#,
            r#"{"title": "\ud800"}"#,
            r#"{"title": NaN}"#,
            r#"{"job_start_before": 5}"#,
            r#"{"job_start_before": null}"#,
            r#"{"run_end_after": []}"#,
            r#"{"experiment_number_before": null}"#,
            r#"{"experiment_number_before": true}"#,
            r#"{"experiment_number_before": ""}"#,
            r#"{"experiment_number_before": "1.5"}"#,
            r#"{"experiment_number_before": [1]}"#,
            r#"{"experiment_number_after": Infinity}"#,
            r#"{"experiment_number_after": 1e999}"#,
        ] {
            assert!(Filters::parse(Some(text)).is_err(), "{text}");
        }
        for (length, is_valid) in [(256, true), (257, false)] {
            let long = format!(r#"{{"title": "{}"}}"#, "é".repeat(length));
            assert_eq!(Filters::parse(Some(&long)).is_ok(), is_valid, "{length}");
        }
        let digits = format!(r#"{{"experiment_number_after": {}}}"#, "1".repeat(4301));
        assert!(Filters::parse(Some(&digits)).is_err());
        assert!(Filters::parse(Some(&"[".repeat(2000))).is_err());
    }

    #[test]
    fn pattern_characters_are_detected() {
        for (text, literal) in [("a%", false), ("_", false), ("\\", false), ("a.*", true)] {
            let condition = Condition::Contains(TextField::Title, text.to_owned());
            assert_eq!(condition.is_literal(), literal, "{text}");
        }
    }

    #[test]
    fn a_rejection_names_the_key_but_no_value() {
        for (text, reason) in [
            (
                r#"{"title": ["secret"]}"#,
                "the value of filter title has the wrong type or range",
            ),
            (r#"["secret"]"#, "filters are not a JSON object without NUL"),
        ] {
            let error = Filters::parse(Some(text)).unwrap_err();
            assert_eq!(error.to_string(), reason, "{text}");
        }
        let key = "k".repeat(100);
        let error = Filters::parse(Some(&format!(r#"{{"{key}": "secret"}}"#))).unwrap_err();
        let text = error.to_string();
        let shown = &key[..32];
        let beginning = format!("unknown filter \"{shown}\", allowed are instrument_in, ");
        assert!(text.starts_with(&beginning), "{text}");
        assert!(text.ends_with(", run_end_after"), "{text}");
    }
}
