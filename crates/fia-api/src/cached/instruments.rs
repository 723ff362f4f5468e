//! What is known of an instrument: its live-data script, specification and latest run.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use serde_json::value::RawValue;
use tiercache::{Cache, Fence, Spec};

use crate::cached::payload::{field, wrap};
use crate::cached::{Bodies, CacheError, Cached, cause, is_outage, value};
use crate::config::TimesToLive;
use crate::model::InstrumentName;
use crate::model::json::{self, compact, parse, render};
use crate::store::instruments::{self, Field};

/// The classes of entries about instruments.
pub(super) struct Classes {
    live_data_instruments: Bodies,
    live_data_script: Bodies,
    specification: Bodies,
    latest_run: Bodies,
}

impl Classes {
    pub(super) fn new(cache: &Cache, ttl: &TimesToLive) -> Self {
        let class = |name, prefix, ttl: Duration, decode, encode| {
            cache.class(Spec {
                name,
                prefix,
                ttl,
                decode,
                encode,
                is_outage,
            })
        };
        Self {
            live_data_instruments: class(
                "live_data_instruments",
                "fia_api:live_data:instruments",
                ttl.live_data_instruments,
                read_names,
                Bytes::clone,
            ),
            live_data_script: class(
                "live_data_script",
                "fia_api:live_data:script:",
                ttl.live_data_script,
                read_script,
                |body| wrap("script", body),
            ),
            specification: class(
                "specification",
                "fia_api:instrument:spec:",
                ttl.specification,
                read_specification,
                |body| wrap("specification", body),
            ),
            latest_run: class(
                "latest_run",
                "fia_api:instrument:latest_run:",
                ttl.latest_run,
                read_latest_run,
                Bytes::clone,
            ),
        }
    }
}

impl Cached {
    /// The names of the instruments with live data: a JSON array.
    ///
    /// # Errors
    /// When neither the cache nor the database has an answer.
    pub async fn live_data_instruments(&self) -> Result<Bytes, CacheError> {
        let db = self.db.clone();
        let load = || async move { Ok(render(&instruments::with_live_data(&db).await?)) };
        value(
            self.instruments
                .live_data_instruments
                .get_or_load("", load)
                .await,
        )
    }

    /// An instrument's live-data script: a JSON string, or `null`.
    ///
    /// # Errors
    /// [`CacheError::Missing`] for an unknown instrument; else as any read.
    pub async fn live_data_script(&self, name: &InstrumentName) -> Result<Bytes, CacheError> {
        let (class, field) = (&self.instruments.live_data_script, Field::LiveDataScript);
        self.field(class, field, name, text_body).await
    }

    /// An instrument's specification: any JSON value.
    ///
    /// # Errors
    /// [`CacheError::Missing`] for an unknown instrument; else as any read.
    pub async fn specification(&self, name: &InstrumentName) -> Result<Bytes, CacheError> {
        let (class, field) = (&self.instruments.specification, Field::Specification);
        self.field(class, field, name, json_body).await
    }

    /// An instrument's latest run: `{"latest_run":…}` with a string or `null`.
    ///
    /// # Errors
    /// [`CacheError::Missing`] for an unknown instrument; else as any read.
    pub async fn latest_run(&self, name: &InstrumentName) -> Result<Bytes, CacheError> {
        let (class, field) = (&self.instruments.latest_run, Field::LatestRun);
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
        let (class, field) = (&self.instruments.live_data_script, Field::LiveDataScript);
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
        let (class, field) = (&self.instruments.specification, Field::Specification);
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
        let (class, field) = (&self.instruments.latest_run, Field::LatestRun);
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
}

/// Written by live-data processors, read and cleared by us.
fn traceback_key(name: &InstrumentName) -> String {
    format!("live_data:{name}:traceback")
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
