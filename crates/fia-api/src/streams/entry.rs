//! A log entry: its id, and its encoding as a server-sent event.

use std::fmt;

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::model::dumps::dumps;

/// A stream entry id: milliseconds since 1970, and a sequence number within the millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    milliseconds: u64,
    number: u64,
}

impl EntryId {
    /// The id before the first entry of every stream.
    pub const ZERO: Self = Self {
        milliseconds: 0,
        number: 0,
    };

    /// The id after every other.
    pub const MAX: Self = Self {
        milliseconds: u64::MAX,
        number: u64::MAX,
    };

    /// Parses `<ms>-<number>` or `<ms>`, which is the first of its millisecond.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (milliseconds, number) = text.split_once('-').unwrap_or((text, "0"));
        let read = |text: &str| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| text.parse().ok()).flatten()
        };
        Some(Self {
            milliseconds: read(milliseconds)?,
            number: read(number)?,
        })
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.milliseconds, self.number)
    }
}

/// The start position of a viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// Entries after this one.
    After(EntryId),
    /// Entries written from now on.
    Now,
}

impl Since {
    /// Parses an id, or `$` for now.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "$" => Some(Self::Now),
            id => EntryId::parse(id).map(Self::After),
        }
    }
}

/// An entry as a server-sent event; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub(super) id: EntryId,
    pub(super) event: Bytes,
}

impl Frame {
    /// Encodes an entry: its fields in order, then its id, as ASCII without line breaks.
    pub(super) fn new(id: EntryId, fields: impl Iterator<Item = (String, String)>) -> Self {
        let mut data: Map<String, Value> = fields
            .map(|(name, value)| (name, Value::String(value)))
            .collect();
        data.insert("valkey_id".to_owned(), Value::String(id.to_string()));
        let data = dumps(&data);
        Self {
            id,
            event: format!("id: {id}\ndata: {data}\n\n").into(),
        }
    }
}

/// Encodes an error event. It has no id, as it is not part of the log.
pub(super) fn error_event(text: &str) -> Bytes {
    format!("data: {{\"error\": \"{text}\"}}\n\n").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(milliseconds: u64, number: u64) -> EntryId {
        EntryId {
            milliseconds,
            number,
        }
    }

    #[test]
    fn ids_are_parsed_and_ordered() {
        for (text, since) in [
            ("0", Some(Since::After(EntryId::ZERO))),
            ("0-0", Some(Since::After(EntryId::ZERO))),
            (
                "1700000000000",
                Some(Since::After(id(1_700_000_000_000, 0))),
            ),
            (
                "5-18446744073709551615",
                Some(Since::After(id(5, u64::MAX))),
            ),
            ("$", Some(Since::Now)),
            ("", None),
            ("-", None),
            ("5-", None),
            ("-5", None),
            ("5-6-7", None),
            ("+5", None),
            ("5-x", None),
            ("18446744073709551616", None),
            ("+", None),
        ] {
            assert_eq!(Since::parse(text), since, "{text:?}");
        }
        assert!(id(9, 9) < id(10, 0) && id(10, 9) < id(10, 10));
        assert_eq!(id(10, 3).to_string(), "10-3");
    }

    /// As Python's `json.dumps({**fields, "valkey_id": id})`.
    #[test]
    fn events_are_encoded_as_by_the_legacy_server() {
        let event = |fields: &[(&str, &str)]| {
            let fields = fields
                .iter()
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
            Frame::new(id(1, 0), fields).event
        };
        assert_eq!(
            event(&[("msg", "é\n☃"), ("level", "INFO")]),
            "id: 1-0\ndata: {\"msg\": \"\\u00e9\\n\\u2603\", \"level\": \"INFO\", \"valkey_id\": \"1-0\"}\n\n"
        );
        assert_eq!(
            event(&[("valkey_id", "x"), ("a", "1"), ("a", "2")]),
            "id: 1-0\ndata: {\"valkey_id\": \"1-0\", \"a\": \"2\"}\n\n"
        );
    }
}
