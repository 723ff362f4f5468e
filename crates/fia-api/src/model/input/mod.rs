//! Declared request bodies: each field is written once, with its name on the wire and the type
//! that carries its rule.

pub mod coerce;
mod field;
mod timestamp;
mod validation;

pub use field::{Field, FromField, FromObject, KnownFields};
pub use timestamp::SentTimestamp;
pub use validation::ValidationErrors;

/// Declares a struct and how it is parsed from a JSON object.
///
/// A field's name is its name on the wire, its type decides what is accepted (see the
/// implementations of [`FromField`]). Errors of all fields are collected, in this order. A
/// declared struct as the type of a field is flattened: its fields stand in the same object.
macro_rules! request_body {
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $name:ident {
            $($(#[$field_attribute:meta])* $field:ident: $type:ty,)+
        }
    ) => {
        $(#[$attribute])*
        $visibility struct $name {
            $($(#[$field_attribute])* pub $field: $type,)+
        }

        impl $crate::model::input::FromObject for $name {}

        impl $crate::model::input::FromField for $name {
            fn from_field(
                mut field: $crate::model::input::Field<'_>,
                errors: &mut $crate::model::input::ValidationErrors,
            ) -> Option<Self> {
                $(let $field = <$type as $crate::model::input::FromField>::from_field(
                    field.beside(stringify!($field)),
                    errors,
                );)+
                Some(Self { $($field: $field?,)+ })
            }

            fn timestamps<'a>(
                &'a mut self,
                _: &'static str,
                found: &mut Vec<(&'static str, &'a mut $crate::model::input::SentTimestamp)>,
            ) {
                $($crate::model::input::FromField::timestamps(
                    &mut self.$field,
                    stringify!($field),
                    found,
                );)+
            }
        }
    };
}

pub(crate) use request_body;

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::*;

    request_body! {
        #[derive(Debug, PartialEq)]
        struct Inner {
            number: i32,
            at: SentTimestamp,
        }
    }

    request_body! {
        #[derive(Debug, PartialEq)]
        struct Outer {
            text: String,
            inner: Inner,
            object: Map<String, Value>,
        }
    }

    fn parse(body: &Value) -> Result<Outer, String> {
        let mut errors = ValidationErrors::default();
        let parsed = Outer::from_object(body.as_object().unwrap().clone(), &mut errors);
        parsed.ok_or_else(|| errors.to_string())
    }

    #[test]
    fn a_declared_struct_as_a_field_is_flattened() {
        let mut parsed =
            parse(&json!({"text": "a", "number": "7", "at": "now", "object": {}})).unwrap();
        assert_eq!(
            parsed,
            Outer {
                text: "a".to_owned(),
                inner: Inner {
                    number: 7,
                    at: SentTimestamp::Text("now".to_owned()),
                },
                object: Map::new(),
            }
        );
        let mut found = Vec::new();
        parsed.timestamps("", &mut found);
        let names: Vec<&str> = found.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["at"]);
    }

    #[test]
    fn errors_of_all_fields_are_reported_in_declared_order() {
        assert_eq!(
            parse(&json!({"object": [], "number": 2_147_483_648_i64})).unwrap_err(),
            "4 validation errors: \
             {'type': 'missing', 'loc': ('body', 'text'), 'msg': 'Field required'} \
             {'type': 'value_error', 'loc': ('body', 'number'), \
             'msg': 'Input should be an integer of at most 32 bits'} \
             {'type': 'missing', 'loc': ('body', 'at'), 'msg': 'Field required'} \
             {'type': 'dict_type', 'loc': ('body', 'object'), \
             'msg': 'Input should be a valid dictionary'}"
        );
    }
}
