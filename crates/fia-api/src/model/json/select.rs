//! Selected fields of a JSON object, without a tree of the others.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Deserializer, Map, Value};

use crate::model::json::unescape::unescape;

/// The outcome of [`select_fields`].
#[derive(Debug, PartialEq)]
pub enum SelectedFields {
    /// The text is `null`.
    Null,
    /// The text is any other value, but no object.
    NoObject,
    /// The selected fields of an object: `null` and strings as they are, `false` for a value of
    /// any other type.
    Object(Map<String, Value>),
}

/// Parses a JSON text and keeps the fields with these names. Of a repeated field the last counts.
/// In selected strings, a lone surrogate becomes U+FFFD.
///
/// Memory beyond the text is proportional to the selected strings.
///
/// # Errors
/// If the text is not JSON.
pub fn select_fields(text: &str, names: &[&'static str]) -> serde_json::Result<SelectedFields> {
    let trimmed = text.trim_matches([' ', '\t', '\n', '\r']);
    if trimmed.starts_with('{') {
        let mut parser = Deserializer::from_str(trimmed);
        let fields = parser.deserialize_map(Object(names))?;
        parser.end()?;
        return Ok(SelectedFields::Object(fields));
    }
    serde_json::from_str::<IgnoredAny>(text)?;
    Ok(if trimmed == "null" {
        SelectedFields::Null
    } else {
        SelectedFields::NoObject
    })
}

struct Object<'a>(&'a [&'static str]);

impl<'de> Visitor<'de> for Object<'_> {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = object.next_key_seed(Name(self.0))? {
            match name {
                Some(name) => {
                    let value = field(object.next_value::<&RawValue>()?.get());
                    fields.insert(name.to_owned(), value);
                }
                None => drop(object.next_value::<IgnoredAny>()?),
            }
        }
        Ok(fields)
    }
}

fn field(raw: &str) -> Value {
    let string = raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"'));
    match string {
        Some(escaped) => Value::String(unescape(escaped)),
        None if raw == "null" => Value::Null,
        None => Value::Bool(false),
    }
}

/// Finds a field's name among the selected ones.
struct Name<'a>(&'a [&'static str]);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Option<&'static str>;

    fn deserialize<D: serde::Deserializer<'de>>(self, name: D) -> Result<Self::Value, D::Error> {
        name.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Option<&'static str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().copied().find(|selected| *selected == name))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const NAMES: &[&str] = &["a", "b"];

    #[test]
    fn other_fields_are_skipped_and_other_types_marked() {
        for (text, fields) in [
            ("{}", json!({})),
            (
                " {\"a\" : \"x\\n\" , \"c\":[{}], \"b\":null} ",
                json!({"a": "x\n", "b": null}),
            ),
            (r#"{"a":1,"b":{"a":"x"}}"#, json!({"a": false, "b": false})),
            (r#"{"a":"x","a":"y"}"#, json!({"a": "y"})),
            (r#"{"\u0061":"x"}"#, json!({"a": "x"})),
            (r#"{"a":"\ud800"}"#, json!({"a": "\u{fffd}"})),
        ] {
            let fields = fields.as_object().unwrap().clone();
            let selected = select_fields(text, NAMES).unwrap();
            assert_eq!(selected, SelectedFields::Object(fields), "{text}");
        }
        assert_eq!(
            select_fields(" null\n", NAMES).unwrap(),
            SelectedFields::Null
        );
        for text in ["1", "1.5e3", "[]", "\"{}\"", "true", r#"[{"a":1}]"#] {
            let selected = select_fields(text, NAMES).unwrap();
            assert_eq!(selected, SelectedFields::NoObject, "{text}");
        }
    }

    #[test]
    fn what_is_not_json_is_an_error() {
        for text in [
            "",
            " ",
            "{",
            "{}{}",
            "{\"a\":}",
            "{\"a\":\"x}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\u{1}\"}",
            "{\"c\":01}",
            "{\"c\":[}",
            "{a:1}",
            "nul",
            "null 1",
            "[1",
            "\u{a0}{}",
        ] {
            assert!(select_fields(text, NAMES).is_err(), "{text:?}");
        }
    }

    proptest! {
        /// Compared with a tree of the whole text.
        #[test]
        fn the_selection_agrees_with_a_tree(
            fields in prop::collection::vec(
                ("[abc]", prop_oneof![
                    any::<String>().prop_map(Value::from),
                    any::<f64>().prop_map(Value::from),
                    Just(Value::Null),
                    Just(json!({"a": ["b"]})),
                ]),
                0..6,
            )
        ) {
            let fields: Map<String, Value> = fields.into_iter().collect();
            let text = Value::Object(fields.clone()).to_string();
            let selected = fields.into_iter().filter(|(name, _)| NAMES.contains(&name.as_str()));
            let expected: Map<String, Value> = selected
                .map(|(name, value)| match value {
                    Value::Null | Value::String(_) => (name, value),
                    _ => (name, Value::Bool(false)),
                })
                .collect();
            prop_assert_eq!(
                select_fields(&text, NAMES).unwrap(),
                SelectedFields::Object(expected)
            );
        }
    }
}
