//! The path and query of a request.

use axum::RequestPartsExt as _;
use axum::extract::RawPathParams;
use http::request::Parts;

use crate::model::InstrumentName;
use crate::model::input::{ValidationErrors, coerce};
use crate::state::AppState;

/// The percent-decoded parameters of a path, and the query as sent.
pub struct Input {
    path: Option<RawPathParams>,
    query: Option<String>,
}

impl Input {
    pub(super) async fn of(parts: &mut Parts, state: &AppState) -> Self {
        Self {
            path: parts.extract_with_state(state).await.ok(),
            query: parts.uri.query().map(str::to_owned),
        }
    }

    /// The value of a path parameter; empty if the route has no such parameter.
    #[must_use]
    pub fn path(&self, name: &str) -> &str {
        self.path
            .iter()
            .flatten()
            .find_map(|(key, value)| (key == name).then_some(value))
            .unwrap_or_default()
    }

    /// Parses an integer of the path, clamped to 64 bits.
    pub fn path_integer(&self, name: &str, errors: &mut ValidationErrors) -> Option<i64> {
        let number = coerce::integer(self.path(name));
        if number.is_none() {
            let message = "Input should be a valid integer, unable to parse string as an integer";
            errors.add("int_parsing", &["path", name], message);
        }
        number.map(coerce::clamp)
    }

    pub(super) fn raw_query(&self) -> &str {
        self.query.as_deref().unwrap_or_default()
    }
}

/// A value parsed from the path and query of a request.
pub trait FromInput: Sized + Send {
    /// Parses the value, or adds validation errors.
    fn parse(input: &Input, errors: &mut ValidationErrors) -> Option<Self>;
}

impl FromInput for () {
    fn parse(_: &Input, _: &mut ValidationErrors) -> Option<Self> {
        Some(())
    }
}

/// Two parts of one input; errors of both are reported.
impl<A: FromInput, B: FromInput> FromInput for (A, B) {
    fn parse(input: &Input, errors: &mut ValidationErrors) -> Option<Self> {
        let (first, second) = (A::parse(input, errors), B::parse(input, errors));
        Some((first?, second?))
    }
}

/// The path parameter `{instrument}`, case-insensitive.
impl FromInput for InstrumentName {
    fn parse(input: &Input, errors: &mut ValidationErrors) -> Option<Self> {
        let name = Self::new(input.path("instrument"));
        if name.is_none() {
            let loc = ["path", "instrument"];
            errors.add("value_error", &loc, "Input should not hold NUL");
        }
        name
    }
}
