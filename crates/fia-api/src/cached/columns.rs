//! The cached columns of instruments, built from their declarations in [`CachedColumn`].

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::value::RawValue;
use tiercache::{Cache, ConfigError, Write};

use crate::cached::payload::{field, string_or_null, wrap};
use crate::cached::{
    Bodies, Body, CacheError, Cached, CachedResult, Freshness, KeyStatistics, Read, ReadFacts,
    bodies, cause,
};
use crate::config;
use crate::model::json::{self, compact, parse, render};
use crate::model::{BodyForm, CachedColumn, ColumnKind, InstrumentName};
use crate::store::instruments;

/// The namespaces of all cached columns, by discriminant.
pub(super) type ColumnCaches = [Bodies; CachedColumn::ALL.len()];

/// Creates the namespaces.
pub(super) fn caches(
    cache: &Cache,
    config: &config::Cache,
    keys: Option<&Arc<KeyStatistics>>,
) -> Result<ColumnCaches, ConfigError> {
    let columns = CachedColumn::ALL;
    let [first, second, third] = columns.map(|column| namespace(cache, config, keys, column));
    Ok([first?, second?, third?])
}

fn namespace(
    cache: &Cache,
    config: &config::Cache,
    keys: Option<&Arc<KeyStatistics>>,
    column: CachedColumn,
) -> Result<Bodies, ConfigError> {
    let declaration = column.declaration();
    let (read, write) = (
        move |payload: &Bytes| decode(column, payload),
        move |body: &Bytes| encode(column, body),
    );
    let ttl = config.ttl.columns.of(column);
    let name = (
        declaration.namespace,
        declaration.key_prefix,
        "{instrument}",
    );
    let facts = ReadFacts::new(name, (ttl, config.max_stale), keys);
    let namespace = bodies(cache, facts.prefix, config.max_stale, read, write)
        .name(facts.name)
        .ttl(ttl)
        // The change feed announces changes by others.
        .verify_with(|one, other| one.bytes() == other.bytes())
        .build()?;
    Ok(Read::new(namespace, facts, Body::len))
}

impl Cached {
    /// The value of an instrument's column, as a response body.
    ///
    /// # Errors
    /// [`CacheError::Missing`] for an unknown instrument; otherwise when neither the cache nor the
    /// database has a value.
    pub async fn column(
        &self,
        column: CachedColumn,
        name: &InstrumentName,
        freshness: Freshness,
    ) -> CachedResult {
        let namespace = self.instruments.column(column);
        let load = self.loader(column, name);
        let read = (column.declaration().namespace, name.as_str());
        self.read(namespace, read, freshness, load).await
    }

    /// Sets an instrument's column; the value of `jsonb` is given as JSON text.
    ///
    /// # Errors
    /// [`CacheError::Missing`] for an unknown instrument; [`CacheError::Unavailable`] where the
    /// database did not confirm the change, which may have been committed all the same.
    pub async fn set_column(
        &self,
        column: CachedColumn,
        name: InstrumentName,
        value: String,
    ) -> Result<(), CacheError> {
        let namespace = self.instruments.column(column);
        let clears_traceback = column.declaration().clears_traceback;
        let traceback = clears_traceback.then(|| self.instruments.traceback_key(&name));
        let (db, fenced, instrument) =
            (self.db.clone(), namespace.key(name.as_str()), name.clone());
        let work = async move |write: Write| {
            let update = instruments::set_column(&db, column, &instrument, &value).await?;
            let update = update.ok_or(CacheError::Missing)?;
            let fenced = write.fence(update, [fenced]).await;
            Ok::<_, CacheError>(fenced.also_invalidate(traceback).commit().await?)
        };
        let written = self.cache.write(work).await;
        if self.guards_writes {
            namespace.verify_after_write(name.as_str(), self.loader(column, &name));
        }
        written.map_err(cause)
    }

    fn loader(
        &self,
        column: CachedColumn,
        name: &InstrumentName,
    ) -> impl Fn() -> BoxFuture<'static, Result<Body, CacheError>> + Send + Sync + use<> {
        let (db, name) = (self.db.clone(), name.clone());
        move || {
            let (db, name) = (db.clone(), name.clone());
            Box::pin(async move {
                let found = instruments::column(&db, column, &name).await?;
                Ok(Body::new(body(column, found.ok_or(CacheError::Missing)?)?))
            })
        }
    }
}

/// The response body of a value from the database.
fn body(column: CachedColumn, text: Option<String>) -> Result<Bytes, CacheError> {
    let value = match column.declaration().kind {
        ColumnKind::Text => render(&text),
        ColumnKind::Json => json_value(column, text)?,
    };
    Ok(in_form(column, value))
}

fn json_value(column: CachedColumn, text: Option<String>) -> Result<Bytes, CacheError> {
    let Some(text) = text else {
        return Ok(json::NULL);
    };
    let value = parse(text.as_bytes()).ok_or_else(|| {
        let column = column.declaration().column;
        tracing::error!(column, "JSON value not readable: it is nested too deep");
        CacheError::Internal
    })?;
    Ok(render(&value))
}

/// The response body of a payload in Valkey; `None` if the payload is not of this column.
fn decode(column: CachedColumn, payload: &Bytes) -> Option<Bytes> {
    let declaration = column.declaration();
    let raw = match field(payload, declaration.payload_field)? {
        Some(raw) => raw,
        None if declaration.is_null_if_absent => RawValue::NULL,
        None => return None,
    };
    let value = match declaration.kind {
        ColumnKind::Text => string_or_null(payload, raw)?,
        ColumnKind::Json => compact(payload, raw)?,
    };
    Some(in_form(column, value))
}

/// The payload in Valkey of a response body.
fn encode(column: CachedColumn, body: &Bytes) -> Bytes {
    let declaration = column.declaration();
    match declaration.body {
        BodyForm::Value => wrap(declaration.payload_field, body),
        BodyForm::Payload => body.clone(),
    }
}

fn in_form(column: CachedColumn, value: Bytes) -> Bytes {
    let declaration = column.declaration();
    match declaration.body {
        BodyForm::Value => value,
        BodyForm::Payload => wrap(declaration.payload_field, &value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[tokio::test]
    async fn each_column_has_the_namespace_of_its_declaration() {
        let cache = Cache::local_builder().connect().unwrap();
        let config = Config::from_vars(&|_| None).unwrap();
        let caches = caches(&cache, &config.cache, None).unwrap();
        for column in CachedColumn::ALL {
            let expected = format!("{}MARI", column.declaration().key_prefix);
            assert_eq!(caches[column as usize].key("MARI").as_str(), expected);
        }
    }

    #[test]
    fn a_payload_decodes_to_the_body_that_encodes_to_it() {
        for (column, payload, body) in [
            (
                CachedColumn::LatestRun,
                r#"{"latest_run":"7"}"#,
                r#"{"latest_run":"7"}"#,
            ),
            (
                CachedColumn::Specification,
                r#"{"specification":[1]}"#,
                "[1]",
            ),
            (CachedColumn::LiveDataScript, r#"{"script":null}"#, "null"),
        ] {
            let payload = Bytes::from_static(payload.as_bytes());
            let decoded = decode(column, &payload).unwrap();
            assert_eq!(decoded, body);
            assert_eq!(encode(column, &decoded), payload);
        }
        // A payload without its member: of the latest run a miss.
        let other = Bytes::from_static(br#"{"other":1}"#);
        assert_eq!(decode(CachedColumn::LatestRun, &other), None);
        for column in [CachedColumn::Specification, CachedColumn::LiveDataScript] {
            assert_eq!(decode(column, &other).unwrap(), "null");
        }
        let number = Bytes::from_static(br#"{"script":1,"latest_run":1}"#);
        assert_eq!(decode(CachedColumn::LiveDataScript, &number), None);
        assert_eq!(decode(CachedColumn::LatestRun, &number), None);
    }
}
