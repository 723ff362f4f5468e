//! The keys of filters, and how each one's value becomes a condition.

use serde_json::Value;

use crate::model::json::python_number;
use crate::model::{BadFilter, Condition, JobState, TextField, TimeField};

type Parse = fn(&Value) -> Option<Condition>;

/// Every filter: its key on the wire, and the parser of its value.
const FILTERS: [(&str, Parse); 15] = [
    ("instrument_in", |value| {
        list(value, |item| item.as_str().map(str::to_owned).map(Some)).map(Condition::InstrumentIn)
    }),
    ("job_state_in", |value| {
        list(value, |item| JobState::parse(item.as_str()?).map(Some)).map(Condition::StateIn)
    }),
    ("experiment_number_in", |value| {
        list(value, experiment).map(Condition::ExperimentIn)
    }),
    ("experiment_number_before", |value| {
        bound(value, f64::floor).map(Condition::ExperimentAtMost)
    }),
    ("experiment_number_after", |value| {
        bound(value, f64::ceil).map(Condition::ExperimentAtLeast)
    }),
    ("title", |value| contains(TextField::Title, value)),
    ("filename", |value| contains(TextField::Filename, value)),
    ("job_start_before", |value| {
        before(TimeField::JobStart, value)
    }),
    ("job_start_after", |value| after(TimeField::JobStart, value)),
    ("job_end_before", |value| before(TimeField::JobEnd, value)),
    ("job_end_after", |value| after(TimeField::JobEnd, value)),
    ("run_start_before", |value| {
        before(TimeField::RunStart, value)
    }),
    ("run_start_after", |value| after(TimeField::RunStart, value)),
    ("run_end_before", |value| before(TimeField::RunEnd, value)),
    ("run_end_after", |value| after(TimeField::RunEnd, value)),
];
/// The most characters of a search: PostgreSQL compares the text with every title or name that no
/// index excludes, at a cost in proportion to its length.
const MAX_SEARCH: usize = 256;
/// The most characters of an unknown key that are logged.
const MAX_LOGGED_KEY: usize = 32;

/// The keys of all filters.
pub(super) fn keys() -> impl Iterator<Item = &'static str> {
    FILTERS.into_iter().map(|(key, _)| key)
}

/// Parses one filter.
pub(super) fn condition(key: &str, value: &Value) -> Result<Condition, BadFilter> {
    let filter = FILTERS.into_iter().find(|(known, _)| *known == key);
    let Some((key, parse)) = filter else {
        let key = key.chars().take(MAX_LOGGED_KEY).collect();
        return Err(BadFilter::UnknownKey { key });
    };
    parse(value).ok_or(BadFilter::BadValue { key })
}

/// Parses the items of a list. Items that no row can equal are left out: `null`, which the front
/// end sends, and those that `read` returns an inner `None` for.
fn list<T>(value: &Value, read: impl Fn(&Value) -> Option<Option<T>>) -> Option<Vec<T>> {
    let items = value.as_array()?.iter().filter(|item| !item.is_null());
    let items: Vec<Option<T>> = items.map(read).collect::<Option<_>>()?;
    Some(items.into_iter().flatten().collect())
}

/// Parses an experiment number. The inner `None` is a number that the column cannot hold.
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

/// Parses a bound of the experiment number, rounded inwards to an integer.
fn bound(value: &Value, round: fn(f64) -> f64) -> Option<i64> {
    match value {
        Value::String(text) => numeral(text).map(i64::from),
        Value::Number(_) => whole(value, round),
        _ => None,
    }
}

/// Rounds a JSON number to an integer, saturating at 64 bits.
fn whole(value: &Value, round: fn(f64) -> f64) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "saturation is intended")]
    let rounded = |number: f64| round(number) as i64;
    value.as_i64().or_else(|| value.as_f64().map(rounded))
}

/// Parses a string as PostgreSQL parses an `integer`.
fn numeral(text: &str) -> Option<i32> {
    text.trim_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c'])
        .parse()
        .ok()
}

/// A search for a string, or for a number as Python writes it.
fn contains(field: TextField, value: &Value) -> Option<Condition> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => python_number(number.as_str()).into_owned(),
        _ => return None,
    };
    let is_short = text.chars().nth(MAX_SEARCH).is_none();
    is_short.then_some(Condition::Contains(field, text))
}

fn before(field: TimeField, value: &Value) -> Option<Condition> {
    Some(Condition::Before(field, value.as_str()?.to_owned()))
}

fn after(field: TimeField, value: &Value) -> Option<Condition> {
    Some(Condition::After(field, value.as_str()?.to_owned()))
}
