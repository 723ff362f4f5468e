//! The filters of job lists and counts: a JSON object, all of whose conditions must hold.

use serde_json::{Map, Value};

use crate::model::JobState;
use crate::model::json::{self, holds_nul, python_number};

/// The filters cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("bad filter")]
pub struct BadFilter;

/// The filters of a request: their conditions, and the value they were read from, which the
/// key of a cache entry holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Filters {
    conditions: Vec<Condition>,
    value: Value,
}

/// A condition on a job, its run, or that run's owner and instrument. A job without the thing
/// in question (a start, an experiment number) fulfils none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// The run's instrument is one of these, letter by letter.
    InstrumentIn(Vec<String>),
    /// The state is one of these.
    StateIn(Vec<JobState>),
    /// The experiment number of the run's owner is one of these.
    ExperimentIn(Vec<i32>),
    /// It is at most this.
    ExperimentAtMost(i64),
    /// It is at least this.
    ExperimentAtLeast(i64),
    /// The text holds this, in any case.
    Contains(TextField, String),
    /// The moment is before this text's, which PostgreSQL is to read.
    Before(TimeField, String),
    /// The moment is after this text's.
    After(TimeField, String),
}

/// A text that can be searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextField {
    /// The run's title.
    Title,
    /// The run's file name.
    Filename,
}

/// A moment that can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeField {
    /// When the job started.
    JobStart,
    /// When the job ended.
    JobEnd,
    /// When the run started.
    RunStart,
    /// When the run ended.
    RunEnd,
}

impl Filters {
    /// Reads the query parameter. Nothing, and everything that Python takes as false, is no
    /// filter.
    ///
    /// # Errors
    /// [`BadFilter`] for what is no JSON, no object, or has a condition that is not known or
    /// whose value it cannot have.
    pub fn parse(text: Option<&str>) -> Result<Self, BadFilter> {
        let value = match text {
            None | Some("") => Value::Null,
            Some(text) => json::parse(text.as_bytes()).ok_or(BadFilter)?,
        };
        if holds_nul(&value) {
            return Err(BadFilter);
        }
        let conditions = match &value {
            Value::Object(fields) => read_all(fields)?,
            other if is_false(other) => Vec::new(),
            _ => return Err(BadFilter),
        };
        Ok(Self { conditions, value })
    }

    /// The conditions, in the order given.
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

fn read_all(fields: &Map<String, Value>) -> Result<Vec<Condition>, BadFilter> {
    fields
        .iter()
        .map(|(key, value)| read(key, value).ok_or(BadFilter))
        .collect()
}

fn read(key: &str, value: &Value) -> Option<Condition> {
    use TextField::{Filename, Title};
    use TimeField::{JobEnd, JobStart, RunEnd, RunStart};
    let text = |field| Some(Condition::Contains(field, searched(value)?));
    let moment = || value.as_str().map(str::to_owned);
    let before = |field| Some(Condition::Before(field, moment()?));
    let after = |field| Some(Condition::After(field, moment()?));
    match key {
        "instrument_in" => list(value, |item| item.as_str().map(str::to_owned).map(Some))
            .map(Condition::InstrumentIn),
        "job_state_in" => {
            list(value, |item| JobState::parse(item.as_str()?).map(Some)).map(Condition::StateIn)
        }
        "experiment_number_in" => list(value, experiment).map(Condition::ExperimentIn),
        "experiment_number_before" => bound(value, f64::floor).map(Condition::ExperimentAtMost),
        "experiment_number_after" => bound(value, f64::ceil).map(Condition::ExperimentAtLeast),
        "title" => text(Title),
        "filename" => text(Filename),
        "job_start_before" => before(JobStart),
        "job_start_after" => after(JobStart),
        "job_end_before" => before(JobEnd),
        "job_end_after" => after(JobEnd),
        "run_start_before" => before(RunStart),
        "run_start_after" => after(RunStart),
        "run_end_before" => before(RunEnd),
        "run_end_after" => after(RunEnd),
        _ => None,
    }
}

/// The items of a list but for those that nothing equals: `null` (the front end sends it), and
/// what `read` gives an inner `None` for.
fn list<T>(value: &Value, read: impl Fn(&Value) -> Option<Option<T>>) -> Option<Vec<T>> {
    let items = value.as_array()?.iter().filter(|item| !item.is_null());
    let items: Vec<Option<T>> = items.map(read).collect::<Option<_>>()?;
    Some(items.into_iter().flatten().collect())
}

/// An experiment number to look for. The inner `None`: no such number can be in the database.
fn experiment(value: &Value) -> Option<Option<i32>> {
    match value {
        Value::String(text) => numeral(text).map(Some),
        Value::Number(_) => {
            let (low, high) = (whole(value, f64::floor)?, whole(value, f64::ceil)?);
            Some(i32::try_from(low).ok().filter(|_| low == high))
        }
        _ => None,
    }
}

/// A bound of the experiment number, rounded inwards: the numbers are whole.
fn bound(value: &Value, round: fn(f64) -> f64) -> Option<i64> {
    match value {
        Value::String(text) => numeral(text).map(i64::from),
        Value::Number(_) => whole(value, round),
        _ => None,
    }
}

/// A JSON number as an integer, clamped to those that 64 bits hold.
fn whole(value: &Value, round: fn(f64) -> f64) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "clamping is meant")]
    let rounded = |number: f64| round(number) as i64;
    value.as_i64().or_else(|| value.as_f64().map(rounded))
}

/// A string that PostgreSQL reads as an `integer`.
fn numeral(text: &str) -> Option<i32> {
    text.trim_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c'])
        .parse()
        .ok()
}

/// What a text is searched for; a number as Python writes it.
fn searched(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(python_number(number.as_str()).into_owned()),
        _ => None,
    }
}

impl Condition {
    /// Whether the older server gives the same rows for this condition. It takes `%`, `_` and
    /// `\` in a search as a pattern's signs.
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
    fn what_python_takes_as_false_is_no_filter() {
        assert_eq!(Filters::parse(None).unwrap().value, Value::Null);
        for text in [
            "", "null", "0", "-0", "0.0", "false", r#""""#, "[]", "{}", " {} ",
        ] {
            assert_eq!(conditions(text), [], "{text}");
        }
    }

    #[test]
    fn conditions_keep_their_order_and_the_last_of_a_name_wins() {
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
    fn values_are_read_as_the_older_server_reads_them() {
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
    fn what_cannot_be_used_is_refused() {
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
            assert_eq!(Filters::parse(Some(text)), Err(BadFilter), "{text}");
        }
        let digits = format!(r#"{{"experiment_number_after": {}}}"#, "1".repeat(4301));
        assert_eq!(Filters::parse(Some(&digits)), Err(BadFilter));
        assert_eq!(Filters::parse(Some(&"[".repeat(2000))), Err(BadFilter));
    }

    #[test]
    fn signs_of_a_pattern_are_noticed() {
        for (text, literal) in [("a%", false), ("_", false), ("\\", false), ("a.*", true)] {
            let condition = Condition::Contains(TextField::Title, text.to_owned());
            assert_eq!(condition.is_literal(), literal, "{text}");
        }
    }
}
