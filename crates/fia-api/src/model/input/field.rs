//! The fields of a request's body, and the rules that types put on them.

use serde_json::{Map, Value};

use crate::model::input::{SentTimestamp, ValidationErrors, coerce};
use crate::model::json;

/// A field of a JSON object, present or not.
#[derive(Debug)]
pub struct Field<'a> {
    object: &'a mut Map<String, Value>,
    name: &'static str,
}

/// A type whose values can be fields of a request's body.
pub trait FromField: Sized {
    /// Parses the field, or adds an error.
    fn from_field(field: Field<'_>, errors: &mut ValidationErrors) -> Option<Self>;

    /// Adds the timestamps that the database has to parse, with their names on the wire. `name`
    /// is the name of this field.
    fn timestamps<'a>(
        &'a mut self,
        name: &'static str,
        found: &mut Vec<(&'static str, &'a mut SentTimestamp)>,
    ) {
        let _ = (name, found);
    }
}

/// A type that is parsed from the whole object of a request's body.
pub trait FromObject: FromField {
    /// Parses the object, or adds errors.
    fn from_object(mut object: Map<String, Value>, errors: &mut ValidationErrors) -> Option<Self> {
        let object = &mut object;
        Self::from_field(Field { object, name: "" }, errors)
    }
}

/// A body whose fields are known by name.
pub trait KnownFields: FromObject {
    /// The names on the wire.
    const NAMES: &'static [&'static str];
}

impl Field<'_> {
    /// Another field of the same object.
    #[must_use]
    pub fn beside(&mut self, name: &'static str) -> Field<'_> {
        let object = &mut *self.object;
        Field { object, name }
    }

    /// The same field, to be parsed by another type first.
    #[must_use]
    pub fn again(&mut self) -> Field<'_> {
        self.beside(self.name)
    }

    /// Takes its value, where it is present. The second time it is `null`.
    #[must_use]
    pub fn take(&mut self) -> Option<Value> {
        self.object.get_mut(self.name).map(Value::take)
    }

    /// Takes its value, or adds the error that it is missing.
    pub fn required(&mut self, errors: &mut ValidationErrors) -> Option<Value> {
        let value = self.take();
        if value.is_none() {
            self.fail("missing", "Field required", errors);
        }
        value
    }

    /// A string without NUL; `None` where the field is absent or `null`. NUL, which the database
    /// cannot store, is removed.
    pub fn optional_text(&mut self, errors: &mut ValidationErrors) -> Option<String> {
        match self.take()? {
            Value::Null => None,
            Value::String(mut text) => {
                if text.contains('\0') {
                    text.retain(|character| character != '\0');
                }
                Some(text)
            }
            _ => {
                self.fail("string_type", "Input should be a valid string", errors);
                None
            }
        }
    }

    /// Adds an error about this field.
    pub fn fail(&self, error_type: &str, message: &str, errors: &mut ValidationErrors) {
        errors.add(error_type, &["body", self.name], message);
    }
}

/// A required string, without NUL.
impl FromField for String {
    fn from_field(mut field: Field<'_>, errors: &mut ValidationErrors) -> Option<Self> {
        match field.required(errors)? {
            Value::String(text) if text.contains('\0') => {
                field.fail("value_error", "Input should not hold NUL", errors);
            }
            Value::String(text) => return Some(text),
            _ => field.fail("string_type", "Input should be a valid string", errors),
        }
        None
    }
}

/// A required integer, or what the older server coerces to one: a string of one, a number
/// without a fraction, a boolean. Clamped to 64 bits.
impl FromField for i64 {
    fn from_field(mut field: Field<'_>, errors: &mut ValidationErrors) -> Option<Self> {
        let number = match field.required(errors)? {
            Value::Bool(flag) => Some(i128::from(flag)),
            Value::Number(number) => coerce::whole(&number),
            Value::String(text) => coerce::integer(&text),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        };
        if number.is_none() {
            field.fail("int_parsing", "Input should be a valid integer", errors);
        }
        number.map(coerce::clamp)
    }
}

/// A required integer as for `i64`, within PostgreSQL's `integer`.
impl FromField for i32 {
    fn from_field(mut field: Field<'_>, errors: &mut ValidationErrors) -> Option<Self> {
        let number = Self::try_from(i64::from_field(field.again(), errors)?).ok();
        if number.is_none() {
            let message = "Input should be an integer of at most 32 bits";
            field.fail("value_error", message, errors);
        }
        number
    }
}

/// A required object that PostgreSQL can store as `jsonb`.
impl FromField for Map<String, Value> {
    fn from_field(mut field: Field<'_>, errors: &mut ValidationErrors) -> Option<Self> {
        let value = field.required(errors)?;
        match value {
            Value::Object(_) if !json::is_storable(&value) || json::holds_nul(&value) => {
                let message = "Input should hold finite numbers, and no NUL";
                field.fail("value_error", message, errors);
            }
            Value::Object(fields) => return Some(fields),
            _ => field.fail("dict_type", "Input should be a valid dictionary", errors),
        }
        None
    }
}
