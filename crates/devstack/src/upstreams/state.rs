//! The stand-ins' data, request counts and configured faults.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::files::SCRIPTS;
use crate::tokens::RECORDED;

#[derive(Debug)]
pub(super) struct State {
    pub(super) calls: BTreeMap<String, u64>,
    pub(super) authorizations: HashMap<String, String>,
    pub(super) delays: ByPrefix<Duration>,
    pub(super) failures: ByPrefix<u16>,
    pub(super) down_until: Option<Instant>,
    pub(super) experiments: BTreeMap<String, Vec<i64>>,
    pub(super) valid_tokens: BTreeSet<String>,
    pub(super) packages: Vec<Value>,
    /// Keyed by instrument.
    pub(super) scripts: HashMap<String, Vec<u8>>,
    pub(super) commit: String,
}

impl Default for State {
    fn default() -> Self {
        let valid = RECORDED.tokens.values().filter(|token| token.verifies);
        let scripts = SCRIPTS
            .iter()
            .filter_map(|(name, text)| Some((name.strip_suffix(".py")?.to_owned(), text.to_vec())));
        Self {
            calls: BTreeMap::new(),
            authorizations: HashMap::new(),
            delays: ByPrefix::default(),
            failures: ByPrefix::default(),
            down_until: None,
            experiments: RECORDED.experiments.clone(),
            valid_tokens: valid.map(|token| token.token.clone()).collect(),
            packages: recorded_packages(),
            scripts: scripts.collect(),
            commit: "0123456789abcdef0123456789abcdef01234567".to_owned(),
        }
    }
}

#[expect(
    clippy::expect_used,
    reason = "an embedded file, parsed by every test of the stand-ins"
)]
fn recorded_packages() -> Vec<Value> {
    serde_json::from_str(include_str!("../../data/packages.json"))
        .expect("data/packages.json is a list")
}

/// A map from path prefixes to values; lookups use the longest matching prefix.
#[derive(Debug)]
pub(super) struct ByPrefix<T>(BTreeMap<String, T>);

impl<T> Default for ByPrefix<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Copy> ByPrefix<T> {
    pub(super) fn set(&mut self, prefix: &str, value: Option<T>) {
        match value {
            Some(value) => self.0.insert(prefix.to_owned(), value),
            None => self.0.remove(prefix),
        };
    }

    pub(super) fn get(&self, path: &str) -> Option<T> {
        let matching = self
            .0
            .iter()
            .filter(|(prefix, _)| path.starts_with(prefix.as_str()));
        matching
            .max_by_key(|(prefix, _)| prefix.len())
            .map(|(_, value)| *value)
    }
}
