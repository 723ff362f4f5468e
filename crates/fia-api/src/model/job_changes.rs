//! The changes that a client makes to a job.

use crate::model::JobState;
use crate::model::input::{
    Field, FromField, FromObject, KnownFields, SentTimestamp, ValidationErrors,
};

/// Every field of a job that `PATCH /job/{job_id}` changes: its name, on the wire and as a
/// column, and its rule. An absent field and `null` leave the column as it is.
const CHANGEABLE: [(&str, Rule); 6] = [
    ("state", state),
    ("status_message", text),
    ("outputs", text),
    ("stacktrace", text),
    ("start", timestamp),
    ("end", timestamp),
];

/// The names of the fields, on the wire and as columns.
const NAMES: [&str; CHANGEABLE.len()] = {
    let mut names = [""; CHANGEABLE.len()];
    let mut i = 0;
    while i < names.len() {
        names[i] = CHANGEABLE[i].0;
        i += 1;
    }
    names
};

type Rule = fn(Field<'_>, &mut ValidationErrors) -> Option<NewValue>;

/// The columns of a job to change, in the order of their declaration.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct JobChanges(pub Vec<(&'static str, NewValue)>);

/// A new value of a job's column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewValue {
    /// A state.
    State(JobState),
    /// A text.
    Text(String),
    /// A timestamp.
    Timestamp(SentTimestamp),
}

impl KnownFields for JobChanges {
    const NAMES: &'static [&'static str] = &NAMES;
}

impl FromObject for JobChanges {}

impl FromField for JobChanges {
    fn from_field(mut field: Field<'_>, errors: &mut ValidationErrors) -> Option<Self> {
        let given = |(name, rule): (&'static str, Rule)| {
            let value = rule(field.beside(name), errors)?;
            Some((name, value))
        };
        Some(Self(CHANGEABLE.into_iter().filter_map(given).collect()))
    }

    fn timestamps<'a>(
        &'a mut self,
        _: &'static str,
        found: &mut Vec<(&'static str, &'a mut SentTimestamp)>,
    ) {
        for (name, value) in &mut self.0 {
            if let NewValue::Timestamp(sent) = value {
                found.push((name, sent));
            }
        }
    }
}

fn state(mut field: Field<'_>, errors: &mut ValidationErrors) -> Option<NewValue> {
    let name = field.optional_text(errors)?;
    let state = JobState::parse(&name);
    if state.is_none() {
        field.fail("enum", "Input should be a state of jobs", errors);
    }
    state.map(NewValue::State)
}

fn text(mut field: Field<'_>, errors: &mut ValidationErrors) -> Option<NewValue> {
    field.optional_text(errors).map(NewValue::Text)
}

/// The job watcher sends `None` for a timestamp that it does not have.
fn timestamp(mut field: Field<'_>, errors: &mut ValidationErrors) -> Option<NewValue> {
    let text = field.optional_text(errors)?;
    let given = !matches!(text.trim(), "" | "None");
    given.then_some(NewValue::Timestamp(SentTimestamp::Text(text)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse(body: &Value) -> (JobChanges, ValidationErrors) {
        let mut errors = ValidationErrors::default();
        let parsed = JobChanges::from_object(body.as_object().unwrap().clone(), &mut errors);
        (parsed.unwrap(), errors)
    }

    #[test]
    fn only_given_fields_are_changed() {
        let (changes, errors) = parse(&json!({
            "end": "now", "start": " None ", "outputs": "", "stacktrace": "a\0b",
            "status_message": null, "state": "ERROR", "id": 5,
        }));
        assert!(errors.is_empty(), "{errors}");
        assert_eq!(
            changes.0,
            [
                ("state", NewValue::State(JobState::Error)),
                ("outputs", NewValue::Text(String::new())),
                ("stacktrace", NewValue::Text("ab".to_owned())),
                (
                    "end",
                    NewValue::Timestamp(SentTimestamp::Text("now".to_owned()))
                ),
            ]
        );
    }

    #[test]
    fn every_wrong_field_is_reported() {
        let (_, errors) = parse(&json!({"state": "error", "outputs": 1, "end": []}));
        let text = errors.to_string();
        assert!(text.starts_with("3 validation errors: "), "{text}");
        for name in ["state", "outputs", "end"] {
            assert!(text.contains(&format!("('body', '{name}')")), "{text}");
        }
    }
}
