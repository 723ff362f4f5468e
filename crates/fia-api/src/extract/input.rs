//! A request's path and query.

use axum::RequestPartsExt as _;
use axum::extract::RawPathParams;
use http::request::Parts;

use crate::extract::{Problems, lax};
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
    pub fn path_integer(&self, name: &str, problems: &mut Problems) -> Option<i64> {
        let number = lax::integer(self.path(name));
        if number.is_none() {
            let message = "Input should be a valid integer, unable to parse string as an integer";
            problems.add("int_parsing", &["path", name], message);
        }
        number.map(lax::clamp)
    }

    pub(super) fn raw_query(&self) -> &str {
        self.query.as_deref().unwrap_or_default()
    }
}

/// A value read from a request's path and query.
pub trait FromInput: Sized + Send {
    /// Reads the value, or notes what is wrong.
    fn read(input: &Input, problems: &mut Problems) -> Option<Self>;
}

impl FromInput for () {
    fn read(_: &Input, _: &mut Problems) -> Option<Self> {
        Some(())
    }
}

/// One part after the other.
impl<A: FromInput, B: FromInput> FromInput for (A, B) {
    fn read(input: &Input, problems: &mut Problems) -> Option<Self> {
        let (first, second) = (A::read(input, problems), B::read(input, problems));
        Some((first?, second?))
    }
}

/// The segment `{instrument}`, in any case.
impl FromInput for InstrumentName {
    fn read(input: &Input, problems: &mut Problems) -> Option<Self> {
        let name = Self::new(input.path("instrument"));
        if name.is_none() {
            let place = ["path", "instrument"];
            problems.add("value_error", &place, "Input should not hold NUL");
        }
        name
    }
}
