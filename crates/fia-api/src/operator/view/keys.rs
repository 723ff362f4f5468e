//! Single keys: those with the most hits, bytes or load time, or those that match a search.

use std::time::Duration;

use futures_util::future::join_all;
use serde::Serialize;
use tiercache::{ContentKind, Form, Inspection};

use crate::cached::{Cached, KeyOrder};
use crate::operator::valkey::{Search, Valkey};

/// The number of keys shown.
const MAX_KEYS: usize = 10;
/// The number of keys that a search shows.
const MAX_FOUND: usize = 50;
/// The prefix of the keys that contain the number of a user.
const OF_USERS: &str = "fia_api:auth:experiments:";
/// The prefix of the keys whose payloads both servers write alike.
const RUNNER_IMAGES: &str = "fia_api:github:packages:";

/// What keys to show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::operator) struct KeyQuery {
    /// The part of a key to search for; empty for the top keys.
    pub(in crate::operator) search: String,
    /// The order of the top keys: `hits`, `bytes` or `load_time`.
    pub(in crate::operator) by: String,
}

impl KeyQuery {
    /// The orders: the name in the query, and the one for people.
    pub(in crate::operator) const ORDERS: [(&'static str, &'static str); 3] = [
        ("hits", "Hits"),
        ("bytes", "Bytes"),
        ("load_time", "Load time"),
    ];

    fn order(&self) -> KeyOrder {
        match self.by.as_str() {
            "bytes" => KeyOrder::Bytes,
            "load_time" => KeyOrder::LoadTime,
            _ => KeyOrder::Hits,
        }
    }
}

/// The keys shown.
#[derive(Debug, Serialize)]
pub(in crate::operator) struct Keys {
    pub(in crate::operator) search: String,
    pub(in crate::operator) by: &'static str,
    /// Why a search is not complete.
    pub(in crate::operator) note: Option<String>,
    pub(in crate::operator) rows: Vec<KeyRow>,
}

/// A key; never its value.
#[derive(Debug, Serialize)]
pub(in crate::operator) struct KeyRow {
    /// The key, with the user's number masked.
    pub(in crate::operator) key: String,
    pub(in crate::operator) is_masked: bool,
    /// Estimated hits, bytes or microseconds, by the order; `None` in a search.
    pub(in crate::operator) amount: Option<u64>,
    /// The state in memory: `current`, `last known`; `None` if it is not there.
    pub(in crate::operator) memory: Option<&'static str>,
    /// The content in Valkey; `None` if that is unknown.
    pub(in crate::operator) valkey: Option<&'static str>,
    pub(in crate::operator) age_seconds: Option<u64>,
    pub(in crate::operator) ttl_seconds: Option<f64>,
    pub(in crate::operator) bytes: Option<u64>,
    /// The size of the content in Valkey, and the rest of its TTL there.
    pub(in crate::operator) valkey_bytes: Option<u64>,
    pub(in crate::operator) valkey_ttl_seconds: Option<f64>,
    pub(in crate::operator) is_invalidation_pending: bool,
    /// The server that stored the payload in Valkey: `this`, or `older`, which writes another form
    /// of JSON; `None` if that cannot be determined.
    pub(in crate::operator) stored_by: Option<&'static str>,
}

impl Keys {
    /// Looks up the keys of a query, and the state of each.
    pub(in crate::operator) async fn find(
        query: &KeyQuery,
        cached: &Cached,
        valkey: &Valkey,
    ) -> Self {
        let by = match query.order() {
            KeyOrder::Hits => "hits",
            KeyOrder::Bytes => "bytes",
            KeyOrder::LoadTime => "load_time",
        };
        let (keys, note) = if query.search.is_empty() {
            (top(query, cached), None)
        } else {
            search(query, cached, valkey).await
        };
        let rows = keys.into_iter().map(async |(key, amount)| {
            let found = cached.inspect(&key).await;
            KeyRow::new(&key, amount, found)
        });
        Self {
            search: query.search.clone(),
            by,
            note,
            rows: join_all(rows).await,
        }
    }
}

type Found = Vec<(String, Option<u64>)>;

fn top(query: &KeyQuery, cached: &Cached) -> Found {
    let Some(statistics) = cached.key_statistics() else {
        return Vec::new();
    };
    let keys = statistics.top(query.order(), MAX_KEYS).into_iter();
    keys.map(|top| (top.key.to_string(), Some(top.amount)))
        .collect()
}

async fn search(query: &KeyQuery, cached: &Cached, valkey: &Valkey) -> (Found, Option<String>) {
    let found = valkey.search(&query.search, MAX_FOUND).await;
    let Search {
        mut keys,
        visited,
        is_complete,
    } = match found {
        Ok(found) => found,
        Err(error) => {
            return (
                Vec::new(),
                Some(format!("Valkey cannot be searched: {error}")),
            );
        }
    };
    let reads = cached.reads();
    keys.retain(|key| reads.iter().any(|read| key.starts_with(read.prefix)));
    keys.sort();
    let note = (!is_complete)
        .then(|| format!("The search ended after {visited} keys; a longer text finds more."));
    (keys.into_iter().map(|key| (key, None)).collect(), note)
}

impl KeyRow {
    fn new(key: &str, amount: Option<u64>, found: Option<Inspection>) -> Self {
        let shown = masked(key);
        let local = found.and_then(|found| found.local);
        let shared = found.and_then(|found| found.shared);
        let memory = local.map(|local| {
            if local.is_current {
                "current"
            } else {
                "last known"
            }
        });
        let current = local.filter(|local| local.is_current);
        let ttl = current.map(|local| local.ttl);
        let valkey_ttl = shared.and_then(|shared| shared.ttl);
        let ttl = ttl.or(valkey_ttl);
        let valkey_bytes = shared.map(|shared| shared.bytes).filter(|bytes| *bytes > 0);
        let bytes = local.map(|local| local.bytes as u64);
        Self {
            is_masked: shown != key,
            key: shown,
            amount,
            memory,
            valkey: shared.map(|shared| kind(shared.kind)),
            age_seconds: current.map(|local| local.age.as_secs()),
            ttl_seconds: ttl.as_ref().map(Duration::as_secs_f64),
            bytes: bytes.or(valkey_bytes),
            valkey_bytes,
            valkey_ttl_seconds: valkey_ttl.as_ref().map(Duration::as_secs_f64),
            stored_by: shared.and_then(|shared| stored_by(key, shared.form)),
            is_invalidation_pending: found.is_some_and(|found| found.is_invalidation_pending),
        }
    }
}

/// The server that writes payloads of this form under this key.
fn stored_by(key: &str, form: Form) -> Option<&'static str> {
    // Its members are stored as GitHub sent them.
    let is_told_apart = !key.starts_with(RUNNER_IMAGES);
    match form {
        Form::Tagged => Some("this"),
        Form::Compact if is_told_apart => Some("this"),
        Form::Spaced if is_told_apart => Some("older"),
        Form::Compact | Form::Spaced | Form::Unknown => None,
    }
}

fn kind(kind: ContentKind) -> &'static str {
    match kind {
        ContentKind::Absent => "absent",
        ContentKind::Payload => "payload",
        ContentKind::Lease => "lease",
        ContentKind::Fence => "fence",
        ContentKind::Tombstone => "tombstone",
        ContentKind::OtherType => "other type",
    }
}

/// A key for people: of a user's number only the last two digits.
pub(in crate::operator) fn masked(key: &str) -> String {
    let Some(number) = key.strip_prefix(OF_USERS) else {
        return key.to_owned();
    };
    let end: String = number.chars().rev().take(2).collect();
    let end: String = end.chars().rev().collect();
    let shown = if number.chars().count() > 3 {
        &*end
    } else {
        ""
    };
    format!("{OF_USERS}•••{shown}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_that_stored_a_payload_is_told_from_its_form() {
        let spec = "fia_api:instrument:spec:MARI";
        for (key, form, server) in [
            (spec, Form::Compact, Some("this")),
            (spec, Form::Spaced, Some("older")),
            (spec, Form::Unknown, None),
            ("fia_api:jobs:list:all:1", Form::Tagged, Some("this")),
            ("fia_api:github:packages:o:i", Form::Spaced, None),
        ] {
            assert_eq!(stored_by(key, form), server, "{key} {form:?}");
        }
    }

    #[test]
    fn the_numbers_of_users_are_masked() {
        for (key, shown) in [
            (
                "fia_api:auth:experiments:1234",
                "fia_api:auth:experiments:•••34",
            ),
            (
                "fia_api:auth:experiments:123",
                "fia_api:auth:experiments:•••",
            ),
            (
                "fia_api:instrument:spec:MARI",
                "fia_api:instrument:spec:MARI",
            ),
        ] {
            assert_eq!(masked(key), shown);
        }
    }
}
