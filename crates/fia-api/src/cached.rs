//! Every cached read with its key, time to live, payload and loader, and the writes that
//! change them: stale data has this one place to look.
//!
//! Keys, payloads and times to live are shared with replicas of the older server.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use secrecy::ExposeSecret;
use serde_json::Value;
use serde_json::value::RawValue;
use tiercache::{Cache, Class, Failure, Fence, Settings, Spec};

use crate::config;
use crate::model::InstrumentName;
use crate::model::json::{self, compact, parse, render};
use crate::store::instruments::{self, Field};
use crate::store::{Db, StoreError};

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CacheError {
    /// What was asked for does not exist.
    #[error("record missing")]
    Missing,
    /// The database cannot be asked just now.
    #[error("database unavailable")]
    Unavailable,
    /// A defect; its cause is in the log.
    #[error("internal error")]
    Internal,
}

/// Finished bodies, ready to send.
type Bodies = Class<Bytes, CacheError>;

/// The cached reads, and the writes that change them.
pub struct Cached {
    db: Db,
    cache: Cache,
    live_data_instruments: Bodies,
    live_data_script: Bodies,
    specification: Bodies,
    latest_run: Bodies,
}

impl Cached {
    /// Prepares the cache in front of a database; Valkey need not be there. To be called
    /// within a Tokio runtime.
    ///
    /// # Errors
    /// When the address of Valkey cannot be parsed.
    pub fn new(config: &config::Cache, db: Db) -> Result<Self, tiercache::BadUrl> {
        let url = config.valkey_url.as_ref();
        let cache = Cache::new(Settings {
            url: url.map(|url| url.expose_secret().to_owned()),
            ..Settings::default()
        })?;
        let class = |name, prefix, ttl: Duration, decode, encode| {
            cache.class(Spec {
                name,
                prefix,
                ttl,
                decode,
                encode,
                is_outage: |error| *error == CacheError::Unavailable,
            })
        };
        Ok(Self {
            live_data_instruments: class(
                "live_data_instruments",
                "fia_api:live_data:instruments",
                config.ttl.live_data_instruments,
                read_names,
                Bytes::clone,
            ),
            live_data_script: class(
                "live_data_script",
                "fia_api:live_data:script:",
                config.ttl.live_data_script,
                read_script,
                |body| wrap("script", body),
            ),
            specification: class(
                "specification",
                "fia_api:instrument:spec:",
                config.ttl.specification,
                read_specification,
                |body| wrap("specification", body),
            ),
            latest_run: class(
                "latest_run",
                "fia_api:instrument:latest_run:",
                config.ttl.latest_run,
                read_latest_run,
                Bytes::clone,
            ),
            cache,
            db,
        })
    }

    /// The names of the instruments with live data: a JSON array.
    ///
    /// # Errors
    /// When neither the cache nor the database has an answer.
    pub async fn live_data_instruments(&self) -> Result<Bytes, CacheError> {
        let db = self.db.clone();
        let load = || async move { Ok(render(&instruments::with_live_data(&db).await?)) };
        value(self.live_data_instruments.get_or_load("", load).await)
    }

    /// An instrument's live-data script: a JSON string, or `null`.
    ///
    /// # Errors
    /// [`CacheError::Missing`] for an unknown instrument; else as any read.
    pub async fn live_data_script(&self, name: &InstrumentName) -> Result<Bytes, CacheError> {
        let (class, field) = (&self.live_data_script, Field::LiveDataScript);
        self.field(class, field, name, text_body).await
    }

    /// An instrument's specification: any JSON value.
    ///
    /// # Errors
    /// [`CacheError::Missing`] for an unknown instrument; else as any read.
    pub async fn specification(&self, name: &InstrumentName) -> Result<Bytes, CacheError> {
        let (class, field) = (&self.specification, Field::Specification);
        self.field(class, field, name, json_body).await
    }

    /// An instrument's latest run: `{"latest_run":…}` with a string or `null`.
    ///
    /// # Errors
    /// [`CacheError::Missing`] for an unknown instrument; else as any read.
    pub async fn latest_run(&self, name: &InstrumentName) -> Result<Bytes, CacheError> {
        let (class, field) = (&self.latest_run, Field::LatestRun);
        self.field(class, field, name, latest_run_body).await
    }

    /// Sets an instrument's live-data script, and clears the traceback of the one before.
    ///
    /// # Errors
    /// [`CacheError::Missing`] for an unknown instrument; [`CacheError::Unavailable`] where the
    /// database did not confirm the change, which may have been made all the same.
    pub async fn set_live_data_script(
        &self,
        name: InstrumentName,
        script: String,
    ) -> Result<(), CacheError> {
        let (class, field) = (&self.live_data_script, Field::LiveDataScript);
        let clears = vec![traceback_key(&name)];
        self.set_field(class, field, name, script, clears).await
    }

    /// Sets an instrument's specification, given as JSON text.
    ///
    /// # Errors
    /// As [`Cached::set_live_data_script`].
    pub async fn set_specification(
        &self,
        name: InstrumentName,
        json: String,
    ) -> Result<(), CacheError> {
        let (class, field) = (&self.specification, Field::Specification);
        self.set_field(class, field, name, json, Vec::new()).await
    }

    /// Sets an instrument's latest run.
    ///
    /// # Errors
    /// As [`Cached::set_live_data_script`].
    pub async fn set_latest_run(
        &self,
        name: InstrumentName,
        run: String,
    ) -> Result<(), CacheError> {
        let (class, field) = (&self.latest_run, Field::LatestRun);
        self.set_field(class, field, name, run, Vec::new()).await
    }

    async fn field(
        &self,
        class: &Bodies,
        field: Field,
        name: &InstrumentName,
        body: fn(Option<String>) -> Result<Bytes, CacheError>,
    ) -> Result<Bytes, CacheError> {
        let (db, instrument) = (self.db.clone(), name.clone());
        let load = async move || {
            let found = instruments::field(&db, field, &instrument).await?;
            body(found.ok_or(CacheError::Missing)?)
        };
        value(class.get_or_load(name.as_str(), load).await)
    }

    async fn set_field(
        &self,
        class: &Bodies,
        field: Field,
        name: InstrumentName,
        value: String,
        clears: Vec<String>,
    ) -> Result<(), CacheError> {
        let db = self.db.clone();
        let key = name.clone();
        let work = async move |fence: Fence| {
            let raise = async { fence.raise().await };
            let set = instruments::set_field(&db, field, &name, &value, raise);
            set.await?.then_some(()).ok_or(CacheError::Missing)
        };
        class.write(key.as_str(), clears, work).await.map_err(cause)
    }

    /// What the live-data processor left of its last failure: a JSON string, or `null`, also
    /// while Valkey is away. Not cached: it lives in Valkey and nowhere else.
    pub async fn traceback(&self, name: &InstrumentName) -> Bytes {
        let text = self.cache.peek(&traceback_key(name)).await;
        render(&text.map(|text| String::from_utf8_lossy(&text).into_owned()))
    }

    /// What the cache has done so far, and how its connection is.
    #[must_use]
    pub fn statistics(&self) -> tiercache::Snapshot {
        self.cache.stats()
    }
}

/// Written by live-data processors, read and cleared by us.
fn traceback_key(name: &InstrumentName) -> String {
    format!("live_data:{name}:traceback")
}

fn value(found: Result<tiercache::Found<Bytes>, Failure<CacheError>>) -> Result<Bytes, CacheError> {
    found.map(|found| found.value).map_err(cause)
}

fn cause(failure: Failure<CacheError>) -> CacheError {
    match failure {
        Failure::Failed(error) => error,
        Failure::Panicked => {
            tracing::error!("a cached read or its write panicked");
            CacheError::Internal
        }
    }
}

fn text_body(text: Option<String>) -> Result<Bytes, CacheError> {
    Ok(render(&text))
}

fn json_body(text: Option<String>) -> Result<Bytes, CacheError> {
    let Some(text) = text else {
        return Ok(json::NULL);
    };
    let value = parse(text.as_bytes()).ok_or_else(|| {
        tracing::error!("a specification is nested too deep to be read");
        CacheError::Internal
    })?;
    Ok(render(&value))
}

fn latest_run_body(run: Option<String>) -> Result<Bytes, CacheError> {
    Ok(wrap("latest_run", &render(&run)))
}

impl From<StoreError> for CacheError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy | StoreError::Unavailable(_) => {
                tracing::warn!(%error, "a request cannot be served");
                Self::Unavailable
            }
            StoreError::Refused(_) => {
                tracing::error!(%error, "a statement failed");
                Self::Internal
            }
        }
    }
}

/// A field of a payload that is an object. A peer may have left it out: then it reads as `null`.
///
/// A map, not a struct: into a struct, the JSON array `[1]` would be read as well.
fn field<'a>(payload: &'a [u8], name: &str) -> Option<&'a RawValue> {
    let fields: HashMap<Cow<'_, str>, &RawValue> = serde_json::from_slice(payload).ok()?;
    Some(fields.get(name).copied().unwrap_or(RawValue::NULL))
}

fn read_script(payload: &Bytes) -> Option<Bytes> {
    string_or_null(payload, field(payload, "script")?)
}

fn read_specification(payload: &Bytes) -> Option<Bytes> {
    compact(payload, field(payload, "specification")?)
}

/// Here the payload and the body have the same form.
fn read_latest_run(payload: &Bytes) -> Option<Bytes> {
    let run = string_or_null(payload, field(payload, "latest_run")?)?;
    Some(wrap("latest_run", &run))
}

fn read_names(payload: &Bytes) -> Option<Bytes> {
    let raw: &RawValue = serde_json::from_slice(payload).ok()?;
    let names: Vec<Value> = serde_json::from_str(raw.get()).ok()?;
    names.iter().all(Value::is_string).then_some(())?;
    compact(payload, raw)
}

fn string_or_null(payload: &Bytes, raw: &RawValue) -> Option<Bytes> {
    matches!(raw.get().as_bytes(), b"null" | [b'"', ..]).then_some(())?;
    compact(payload, raw)
}

/// `{"<key>":<body>}`: a cached "has none" is an object, and so is told apart from a miss.
fn wrap(key: &str, body: &Bytes) -> Bytes {
    [b"{\"", key.as_bytes(), b"\":", body, b"}"].concat().into()
}
