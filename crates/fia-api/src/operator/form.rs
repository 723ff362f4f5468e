//! Queries and forms: `application/x-www-form-urlencoded`.

use std::collections::HashMap;

use axum::body::{Body, to_bytes};

/// The largest form, in bytes.
const MAX_BYTES: usize = 16 * 1024;

/// The fields of a query or a form; the last of repeated ones counts.
#[derive(Debug, Default)]
pub(super) struct Form(HashMap<String, String>);

impl Form {
    pub(super) fn of_query(query: Option<&str>) -> Self {
        Self::parse(query.unwrap_or_default().as_bytes())
    }

    /// Reads a form; `None` if it is too large or breaks off.
    pub(super) async fn of_body(body: Body) -> Option<Self> {
        let bytes = to_bytes(body, MAX_BYTES).await.ok()?;
        Some(Self::parse(&bytes))
    }

    fn parse(bytes: &[u8]) -> Self {
        Self(form_urlencoded::parse(bytes).into_owned().collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}
