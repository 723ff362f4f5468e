//! What is known of an instrument: its live-data script, specification and latest run.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::Value;
use serde_json::value::RawValue;
use tiercache::{Cache, LocalPolicy, NamespaceConfig, OverlappingPrefix, WriteFence};

use crate::cached::payload::{field, wrap};
use crate::cached::{
    Bodies, Body, CacheError, Cached, CachedResponse, CachedResult, cause, is_outage,
};
use crate::config;
use crate::model::InstrumentName;
use crate::model::json::{self, compact, parse, render};
use crate::store::instruments::{self, Field};

/// The classes of entries about instruments. Cheap to clone.
#[derive(Clone)]
pub(super) struct InstrumentCaches {
    live_data_instruments: Bodies,
    live_data_script: CachedColumn,
    specification: CachedColumn,
    latest_run: CachedColumn,
}

/// A field of instruments: its entries, its place in the database, and its body.
#[derive(Clone)]
struct CachedColumn {
    class: Bodies,
    field: Field,
    body: fn(Option<String>) -> Result<Bytes, CacheError>,
}

impl InstrumentCaches {
    pub(super) fn new(cache: &Cache, config: &config::Cache) -> Result<Self, OverlappingPrefix> {
        let (ttl, max_stale) = (&config.ttl, config.max_stale);
        let class = |name, prefix, ttl: Duration, policy: LocalPolicy<Body>, decode, encode| {
            cache.namespace(NamespaceConfig {
                name,
                prefix,
                ttl,
                is_shared: true,
                local: Some(policy),
                decode,
                encode,
                is_outage,
            })
        };
        let announced = || Body::keep_announced(max_stale);
        Ok(Self {
            live_data_instruments: class(
                "live_data_instruments",
                "fia_api:live_data:instruments",
                ttl.live_data_instruments,
                Body::keep(max_stale),
                |payload| read_names(payload).map(Body::new),
                |body| body.bytes().clone(),
            )?,
            live_data_script: CachedColumn {
                class: class(
                    "live_data_script",
                    "fia_api:live_data:script:",
                    ttl.live_data_script,
                    announced(),
                    |payload| read_script(payload).map(Body::new),
                    |body| wrap("script", body.bytes()),
                )?,
                field: Field::LiveDataScript,
                body: text_body,
            },
            specification: CachedColumn {
                class: class(
                    "specification",
                    "fia_api:instrument:spec:",
                    ttl.specification,
                    announced(),
                    |payload| read_specification(payload).map(Body::new),
                    |body| wrap("specification", body.bytes()),
                )?,
                field: Field::Specification,
                body: json_body,
            },
            latest_run: CachedColumn {
                class: class(
                    "latest_run",
                    "fia_api:instrument:latest_run:",
                    ttl.latest_run,
                    announced(),
                    |payload| read_latest_run(payload).map(Body::new),
                    |body| body.bytes().clone(),
                )?,
                field: Field::LatestRun,
                body: latest_run_body,
            },
        })
    }
}

impl InstrumentCaches {
    /// Sees to it that nothing older than now is served of an instrument.
    pub(super) async fn invalidate_fields(&self, name: &str) {
        tokio::join!(
            self.live_data_script.class.invalidate(name),
            self.specification.class.invalidate(name),
            self.latest_run.class.invalidate(name),
        );
    }

    /// The same for the list of those with live data.
    pub(super) async fn invalidate_list(&self) {
        self.live_data_instruments.invalidate("").await;
    }
}

impl Cached {
    /// The names of the instruments with live data: a JSON array.
    ///
    /// # Errors
    /// When neither the cache nor the database has an answer.
    pub async fn live_data_instruments(&self) -> CachedResult {
        let db = self.db.clone();
        let load =
            || async move { Ok(Body::new(render(&instruments::with_live_data(&db).await?))) };
        let class = &self.instruments.live_data_instruments;
        let found = class.get_or_load("", load).await.map_err(cause)?;
        Ok(CachedResponse::new(class, "", found))
    }

    /// An instrument's live-data script: a JSON string, or `null`.
    ///
    /// # Errors
    /// [`CacheError::Missing`] for an unknown instrument; else as any read.
    pub async fn live_data_script(&self, name: &InstrumentName) -> CachedResult {
        self.field(&self.instruments.live_data_script, name).await
    }

    /// An instrument's specification: any JSON value.
    ///
    /// # Errors
    /// [`CacheError::Missing`] for an unknown instrument; else as any read.
    pub async fn specification(&self, name: &InstrumentName) -> CachedResult {
        self.field(&self.instruments.specification, name).await
    }

    /// An instrument's latest run: `{"latest_run":…}` with a string or `null`.
    ///
    /// # Errors
    /// [`CacheError::Missing`] for an unknown instrument; else as any read.
    pub async fn latest_run(&self, name: &InstrumentName) -> CachedResult {
        self.field(&self.instruments.latest_run, name).await
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
        let column = &self.instruments.live_data_script;
        let clears = vec![traceback_key(&name)];
        self.set_field(column, name, script, clears).await
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
        let column = &self.instruments.specification;
        self.set_field(column, name, json, Vec::new()).await
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
        let column = &self.instruments.latest_run;
        self.set_field(column, name, run, Vec::new()).await
    }

    async fn field(&self, column: &CachedColumn, name: &InstrumentName) -> CachedResult {
        let (class, load) = (&column.class, self.loader(column, name));
        let found = class.get_or_load(name.as_str(), load).await;
        Ok(CachedResponse::new(
            class,
            name.as_str(),
            found.map_err(cause)?,
        ))
    }

    async fn set_field(
        &self,
        column: &CachedColumn,
        name: InstrumentName,
        value: String,
        clears: Vec<String>,
    ) -> Result<(), CacheError> {
        let db = self.db.clone();
        let (key, field) = (name.clone(), column.field);
        let work = async move |fence: WriteFence| {
            let raise = async { fence.raise().await };
            let set = instruments::set_field(&db, field, &name, &value, raise);
            set.await?.then_some(()).ok_or(CacheError::Missing)
        };
        let written = column.class.write(key.as_str(), clears, work).await;
        if self.guards_writes {
            column
                .class
                .verify_after_write(key.as_str(), self.loader(column, &key));
        }
        written.map_err(cause)
    }

    fn loader(
        &self,
        column: &CachedColumn,
        name: &InstrumentName,
    ) -> impl Fn() -> BoxFuture<'static, Result<Body, CacheError>> + Send + Sync + use<> {
        let (db, name) = (self.db.clone(), name.clone());
        let (field, body) = (column.field, column.body);
        move || {
            let (db, name) = (db.clone(), name.clone());
            Box::pin(async move {
                let found = instruments::field(&db, field, &name).await?;
                Ok(Body::new(body(found.ok_or(CacheError::Missing)?)?))
            })
        }
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
