//! The parameters of a request's path.

use axum::RequestPartsExt as _;
use axum::extract::RawPathParams;
use http::request::Parts;

use crate::extract::Problems;
use crate::model::InstrumentName;
use crate::state::AppState;

/// The parameters of a request's path, percent-decoded.
pub struct Input {
    path: Option<RawPathParams>,
}

impl Input {
    pub(super) async fn of(parts: &mut Parts, state: &AppState) -> Self {
        Self {
            path: parts.extract_with_state(state).await.ok(),
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
