//! The query of a URL.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

use crate::server::invalid_url::InvalidUrl;

/// The parameters of a query that were not used yet.
pub(super) struct Parameters {
    values: BTreeMap<String, String>,
    /// Whether error texts may contain the names. With an `@`, the query may be the rest of a
    /// password that contains a question mark.
    shows_names: bool,
}

impl Parameters {
    /// Parses a query as Python's `parse_qs`: of a repeated parameter the first value counts. An
    /// empty value counts as none.
    pub(super) fn parse(query: &str) -> Self {
        let mut values = BTreeMap::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let kept: &mut String = values.entry(decode(name)).or_default();
            if kept.is_empty() {
                *kept = decode(value);
            }
        }
        Self {
            values,
            shows_names: !query.contains('@'),
        }
    }

    /// Uses a parameter.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        self.values.remove(name).filter(|value| !value.is_empty())
    }

    /// Refuses the parameters that were not used.
    pub(super) fn refuse_rest(self) -> Result<(), InvalidUrl> {
        let is_word = |name: &str| {
            name.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        };
        match self.values.keys().next() {
            None => Ok(()),
            Some(name) if self.shows_names && is_word(name) => Err(InvalidUrl::new(
                format!("parameter {name}"),
                "not supported",
            )),
            Some(_) => Err(InvalidUrl::new("query", "a parameter is not supported")),
        }
    }
}

fn decode(text: &str) -> String {
    let text = text.replace('+', " ");
    percent_decode_str(&text).decode_utf8_lossy().into_owned()
}
