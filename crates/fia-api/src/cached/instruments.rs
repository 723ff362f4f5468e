//! The cached reads of instruments: the list of those with live data, and their columns.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::Value;
use serde_json::value::RawValue;
use tiercache::{Cache, ConfigError, Key, Namespace, Raw};

use crate::cached::columns::{self, ColumnCaches};
use crate::cached::traces::lookup;
use crate::cached::{
    Bodies, Body, CacheError, Cached, CachedResponse, CachedResult, KeyStatistics, Read, ReadFacts,
    bodies, cause,
};
use crate::config;
use crate::model::json::{compact, render};
use crate::model::{CachedColumn, InstrumentName};
use crate::store::instruments;

/// The prefix of the keys of tracebacks.
const TRACEBACK_PREFIX: &str = "live_data:";

/// The namespaces of entries about instruments. Cheap to clone.
#[derive(Clone)]
pub(super) struct InstrumentCaches {
    live_data_instruments: Bodies,
    tracebacks: Tracebacks,
    columns: ColumnCaches,
}

/// The tracebacks of live-data processors, which store them in Valkey themselves.
type Tracebacks = Namespace<str, Bytes, CacheError>;

impl InstrumentCaches {
    pub(super) fn new(
        cache: &Cache,
        config: &config::Cache,
        keys: Option<&Arc<KeyStatistics>>,
    ) -> Result<Self, ConfigError> {
        // The whole key: there is one list.
        let name = ("live_data_instruments", "fia_api:live_data:instruments", "");
        let (ttl, max_stale) = (config.ttl.live_data_instruments, config.max_stale);
        let facts = ReadFacts::new(name, (ttl, max_stale), keys);
        let list = bodies(cache, facts.prefix, max_stale, read_names, Bytes::clone);
        let list = list.name(facts.name).ttl(ttl).build()?;
        Ok(Self {
            live_data_instruments: Read::new(list, facts, Body::len),
            tracebacks: cache
                .namespace(TRACEBACK_PREFIX, Raw)
                .name("traceback")
                .shared_only()
                .build()?,
            columns: columns::caches(cache, config, keys)?,
        })
    }

    /// All of them but the tracebacks, which are not cached.
    pub(super) fn reads(&self) -> impl Iterator<Item = &Bodies> {
        [&self.live_data_instruments]
            .into_iter()
            .chain(&self.columns)
    }

    /// The key of the traceback of an instrument's live-data processor.
    pub(super) fn traceback_key(&self, name: &InstrumentName) -> Key {
        self.tracebacks.key(&traceback(name))
    }

    pub(super) fn column(&self, column: CachedColumn) -> &Bodies {
        // The array has an element for each discriminant.
        &self.columns[column as usize]
    }

    /// Invalidates all columns of an instrument.
    pub(super) async fn invalidate_columns(&self, name: &str) {
        join_all(self.columns.iter().map(|column| column.invalidate(name))).await;
    }

    /// Invalidates the list of instruments with live data.
    pub(super) async fn invalidate_list(&self) {
        self.live_data_instruments.invalidate("").await;
    }
}

impl Cached {
    /// The names of the instruments with live data: a JSON array.
    ///
    /// # Errors
    /// When neither the cache nor the database has a value.
    pub async fn live_data_instruments(&self) -> CachedResult {
        let db = self.db.clone();
        let load =
            || async move { Ok(Body::new(render(&instruments::with_live_data(&db).await?))) };
        let namespace = &self.instruments.live_data_instruments;
        let found = lookup(namespace, ("live_data_instruments", ""), load)
            .await
            .map_err(cause)?;
        Ok(CachedResponse::new(namespace, "", found))
    }

    /// The traceback of the live-data processor's last failure: a JSON string, or `null`, also
    /// while Valkey is unavailable. Not cached: Valkey is where it is stored.
    pub async fn traceback(&self, name: &InstrumentName) -> Bytes {
        let text = self.instruments.tracebacks.peek(&traceback(name)).await;
        render(&text.map(|text| String::from_utf8_lossy(&text).into_owned()))
    }
}

/// The rest of the key of a traceback.
fn traceback(name: &InstrumentName) -> String {
    format!("{name}:traceback")
}

fn read_names(payload: &Bytes) -> Option<Bytes> {
    let raw: &RawValue = serde_json::from_slice(payload).ok()?;
    let names: Vec<Value> = serde_json::from_str(raw.get()).ok()?;
    names.iter().all(Value::is_string).then_some(())?;
    compact(payload, raw)
}
