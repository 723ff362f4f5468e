//! The four cached reads and their writes: one table, every rule for each.

mod reads;
mod writes;

use http::StatusCode;
use serde_json::{Value, json};
use tiercache::NamespaceStats;

use crate::harness::{Fixture, Replica};

/// A cached read.
struct Read {
    namespace: &'static str,
    /// `{}` is the instrument's name; likewise in `key`.
    path: &'static str,
    key: &'static str,
    ttl: i64,
    ttl_var: &'static str,
    /// The response body of a value, its payload in Valkey, and the statement that stores it.
    body: fn(&Value) -> Value,
    payload: fn(&Value) -> Value,
    set: &'static str,
    /// The PUT body of a value; `None` for a read-only route.
    put: Option<fn(&Value) -> Value>,
    /// Payloads that are valid JSON of another shape.
    misshapen: &'static [&'static str],
}

fn itself(value: &Value) -> Value {
    value.clone()
}

const SCRIPT: Read = Read {
    namespace: "live_data_script",
    path: "/live-data/{}/script",
    key: "fia_api:live_data:script:{}",
    ttl: 60,
    ttl_var: "LIVE_DATA_SCRIPT_CACHE_TTL_SECONDS",
    body: itself,
    payload: |value| json!({ "script": value }),
    set: "UPDATE instruments SET live_data_script = $1::text::jsonb #>> '{}' WHERE instrument_name = $2",
    put: Some(|value| json!({ "value": value })),
    misshapen: &[
        "[1]",
        r#"{"script":5}"#,
        r#"{"script": ["a"]}"#,
        r#"{"script":"\ud800"}"#,
    ],
};

const SPECIFICATION: Read = Read {
    namespace: "specification",
    path: "/instrument/{}/specification",
    key: "fia_api:instrument:spec:{}",
    ttl: 120,
    ttl_var: "INSTRUMENT_SPEC_CACHE_TTL_SECONDS",
    body: |value| object_or_null(value),
    payload: |value| json!({ "specification": object_or_null(value) }),
    set: "UPDATE instruments SET specification = CASE WHEN $1::text = 'null' THEN NULL \
          ELSE jsonb_build_object('v', $1::text::jsonb) END WHERE instrument_name = $2",
    put: Some(object_or_null),
    misshapen: &["[1]", r#"{"specification": "\ud800 "}"#],
};

const LATEST_RUN: Read = Read {
    namespace: "latest_run",
    path: "/instrument/{}/latest-run",
    key: "fia_api:instrument:latest_run:{}",
    ttl: 15,
    ttl_var: "INSTRUMENT_LATEST_RUN_CACHE_TTL_SECONDS",
    body: |value| json!({ "latest_run": value }),
    payload: |value| json!({ "latest_run": value }),
    set: "UPDATE instruments SET latest_run = $1::text::jsonb #>> '{}' WHERE instrument_name = $2",
    put: Some(|value| json!({ "latest_run": value })),
    misshapen: &["[1]", r#"{"latest_run":5}"#, r#"{"latest_run": {}}"#],
};

/// The value is the whole list: the instrument's new name, or an empty list for null.
const INSTRUMENTS: Read = Read {
    namespace: "live_data_instruments",
    path: "/live-data/instruments",
    key: "fia_api:live_data:instruments",
    ttl: 120,
    ttl_var: "LIVE_DATA_INSTRUMENTS_CACHE_TTL_SECONDS",
    body: |value| {
        if value.is_null() {
            json!([])
        } else {
            json!([value])
        }
    },
    payload: |value| {
        if value.is_null() {
            json!([])
        } else {
            json!([value])
        }
    },
    set: "UPDATE instruments SET live_data_support = (instrument_name = $2), \
          instrument_name = CASE WHEN instrument_name = $2 AND $1::text <> 'null' \
          THEN $1::text::jsonb #>> '{}' ELSE instrument_name END",
    put: None,
    misshapen: &["{}", "[1]", r#"["A",5]"#, r#"["A",null]"#],
};

/// Wraps a value in an object, as specifications are objects.
fn object_or_null(value: &Value) -> Value {
    if value.is_null() {
        Value::Null
    } else {
        json!({ "v": value })
    }
}

/// The reads of one instrument that have a PUT.
const OF_AN_INSTRUMENT: [Read; 3] = [SCRIPT, SPECIFICATION, LATEST_RUN];

impl Read {
    fn path(&self, instrument: &str) -> String {
        self.path.replace("{}", instrument)
    }

    fn key(&self, instrument: &str) -> String {
        self.key.replace("{}", instrument)
    }
}

/// Changes a value directly in PostgreSQL.
async fn set(fixture: &Fixture, read: &Read, value: &Value, instrument: &str) {
    let client = fixture.database.client().await;
    let changed = client
        .execute(read.set, &[&value.to_string(), &instrument])
        .await
        .unwrap();
    assert!(changed > 0, "no instrument {instrument}");
}

async fn body(replica: &Replica, path: &str) -> Value {
    let response = replica.get(path, "staff").await;
    assert_eq!(
        response.status,
        StatusCode::OK,
        "{path}: {}",
        response.text()
    );
    response.json()
}

fn stats(replica: &Replica, read: &Read) -> NamespaceStats {
    let all = replica.state.cached.statistics().namespaces;
    all.into_iter()
        .find(|namespace| *namespace.name == *read.namespace)
        .unwrap()
}
