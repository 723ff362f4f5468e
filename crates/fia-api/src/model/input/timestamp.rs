//! Timestamps of requests, which only PostgreSQL can parse.

use crate::model::Timestamp;
use crate::model::input::{Field, FromField, ValidationErrors};

/// A timestamp of a request's body. PostgreSQL parses its text, since clients may send whatever
/// that accepts; a value can be stored only once it is parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SentTimestamp {
    /// The text as it was sent.
    Text(String),
    /// The timestamp that PostgreSQL parsed.
    Parsed(Timestamp),
}

/// A required string; its syntax is checked by the database.
impl FromField for SentTimestamp {
    fn from_field(field: Field<'_>, errors: &mut ValidationErrors) -> Option<Self> {
        String::from_field(field, errors).map(Self::Text)
    }

    fn timestamps<'a>(
        &'a mut self,
        name: &'static str,
        found: &mut Vec<(&'static str, &'a mut SentTimestamp)>,
    ) {
        found.push((name, self));
    }
}
