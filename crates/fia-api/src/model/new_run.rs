//! Runs that are added to the database.

use crate::model::input::{Field, FromField, SentTimestamp, ValidationErrors, request_body};
use crate::model::python;

request_body! {
    /// A run as run-detection describes it, in the body of `POST /job/autoreduction`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct NewRun {
        /// The data file.
        filename: String,
        /// The experiment that it belongs to.
        rb_number: RbNumber,
        /// The instrument, by its exact name.
        instrument_name: String,
        /// The title.
        title: String,
        /// The experimenters.
        users: String,
        /// The start of the measurement.
        run_start: SentTimestamp,
        /// The end of the measurement.
        run_end: SentTimestamp,
        /// Good frames among those recorded.
        good_frames: i32,
        /// Frames recorded.
        raw_frames: i32,
    }
}

/// An experiment (RB) number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RbNumber(pub i32);

/// A required string that Python's `int()` accepts, within PostgreSQL's `integer`.
impl FromField for RbNumber {
    fn from_field(mut field: Field<'_>, errors: &mut ValidationErrors) -> Option<Self> {
        let text = String::from_field(field.again(), errors)?;
        let number = python::python_int(&text).and_then(|number| i32::try_from(number).ok());
        if number.is_none() {
            let message = "Input should be an integer of at most 32 bits";
            field.fail("int_parsing", message, errors);
        }
        number.map(Self)
    }
}
