//! The inputs of a job, as run-detection's rules make them.

use serde_json::{Map, Value};

use crate::model::python;

/// An input that a transform cannot use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadInput {
    /// It is not there.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// It has another form than the script wants.
    #[error("{0} is not {1}")]
    Form(&'static str, &'static str),
}

/// The inputs of a job.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    values: &'a Map<String, Value>,
    /// Whether this server runs on a developer's machine, where results go elsewhere.
    pub(super) dev_mode: bool,
}

impl<'a> Inputs<'a> {
    /// Takes the inputs as the request has them.
    #[must_use]
    pub fn new(values: &'a Map<String, Value>, dev_mode: bool) -> Self {
        Self { values, dev_mode }
    }

    /// An input, if it is there.
    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.values.get(key)
    }

    /// An input that must be there.
    pub(super) fn need(&self, key: &'static str) -> Result<&'a Value, BadInput> {
        self.get(key).ok_or(BadInput::Missing(key))
    }

    /// An input that must be there, as Python's `str()` has it.
    pub(super) fn text(&self, key: &'static str) -> Result<String, BadInput> {
        self.need(key).map(python::python_str)
    }

    /// Whether an input is the string `true`; the boolean is not.
    pub(super) fn says_true(&self, key: &str) -> bool {
        self.get(key).and_then(Value::as_str) == Some("true")
    }
}
