//! A request's path and query.

use axum::RequestPartsExt as _;
use axum::extract::RawPathParams;
use http::request::Parts;

use crate::extract::{ValidationErrors, coerce};
use crate::model::InstrumentName;
use crate::state::AppState;

/// The parameters of a request's path, percent-decoded, and its query, as sent.
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

    /// The value of a parameter of the path; empty where the route has no such parameter.
    #[must_use]
    pub fn path(&self, name: &str) -> &str {
        self.path
            .iter()
            .flatten()
            .find_map(|(key, value)| (key == name).then_some(value))
            .unwrap_or_default()
    }

    /// An integer in the path, clamped to 64 bits; beyond them there are no ids.
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

/// A value read from a request's path and query.
pub trait FromInput: Sized + Send {
    /// Reads the value, or notes what is wrong.
    fn parse(input: &Input, errors: &mut ValidationErrors) -> Option<Self>;
}

impl FromInput for () {
    fn parse(_: &Input, _: &mut ValidationErrors) -> Option<Self> {
        Some(())
    }
}

/// One part after the other.
impl<A: FromInput, B: FromInput> FromInput for (A, B) {
    fn parse(input: &Input, errors: &mut ValidationErrors) -> Option<Self> {
        let (first, second) = (A::parse(input, errors), B::parse(input, errors));
        Some((first?, second?))
    }
}

/// The segment `{instrument}`, in any case.
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
