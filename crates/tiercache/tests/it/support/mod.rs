//! The test fixture: a Valkey, a cache, and further replicas behind proxies.

mod database;
mod front;
mod logs;
mod proxies;
mod raw;
mod slow;
mod topology;
mod wait;
mod write;
mod writer;

use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tiercache::{
    Cache, CacheBuilder, CachedValue, Failure, Namespace, NamespaceBuilder, NamespaceStats, Source,
    codec,
};

pub(crate) use database::{Database, DbError, Gate, no_load};
pub(crate) use front::Front;
pub(crate) use logs::Warnings;
pub(crate) use proxies::Proxies;
pub(crate) use raw::{Raw, assert_marker, expire_fence, foreign_marker};
pub(crate) use slow::SlowLink;
pub(crate) use topology::{Level, with_tls};
pub(crate) use wait::{
    enqueue, wait_for_shared_level, wait_for_tracking, wait_until, within_a_second,
};
pub(crate) use write::{WriteFence, put, put_named};
pub(crate) use writer::Writer;

pub(crate) const NAME: &str = "MARI";
pub(crate) const KEY: &str = "test:row:MARI";
pub(crate) const TTL: Duration = Duration::from_secs(60);
/// The maximum age beyond the TTL of a fallback value while the database is unavailable.
pub(crate) const MAX_STALE: Duration = Duration::from_secs(30);

/// The namespace under test: the version of a row, stored as `{"v":…}`.
#[derive(Clone)]
pub(crate) struct Rows(Namespace<str, u64, DbError>);

/// A value and its source. (Its age depends on the clock.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) value: u64,
    pub(crate) source: Source,
}

pub(crate) type Response = Result<Read, Failure<DbError>>;

impl Rows {
    pub(crate) fn build(builder: NamespaceBuilder<str, u64, DbError>) -> Self {
        Self(builder.build().unwrap())
    }

    #[track_caller]
    pub(crate) fn get_or_load<F, Fut>(&self, name: &str, load: F) -> impl Future<Output = Response>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<u64, DbError>> + Send + 'static,
    {
        limited::waiting(format!("a read of {name}"), async move {
            response(self.lookup(name, load).await)
        })
    }

    #[track_caller]
    pub(crate) fn peek(&self, name: &str) -> impl Future<Output = Option<u64>> {
        limited::waiting(format!("a peek of {name}"), self.0.peek(name))
    }

    #[track_caller]
    pub(crate) fn get_or_load_current<F, Fut>(
        &self,
        name: &str,
        load: F,
    ) -> impl Future<Output = Response>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<u64, DbError>> + Send + 'static,
    {
        limited::waiting(format!("a current read of {name}"), async move {
            response(self.lookup_current(name, load).await)
        })
    }
}

fn response(outcome: Result<CachedValue<u64>, Failure<Arc<DbError>>>) -> Response {
    match outcome {
        Ok(found) => Ok(Read {
            value: found.value,
            source: found.source,
        }),
        Err(Failure::Failed(error)) => Err(Failure::Failed(*error)),
        Err(Failure::TimedOut) => Err(Failure::TimedOut),
        Err(_) => Err(Failure::Panicked),
    }
}

impl Deref for Rows {
    type Target = Namespace<str, u64, DbError>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// A namespace of the shared level only.
pub(crate) fn config(cache: &Cache, ttl: Duration) -> NamespaceBuilder<str, u64, DbError> {
    local_config(cache, ttl).shared_only()
}

/// A namespace of bytes under one key, "traceback".
pub(crate) fn traceback(cache: &Cache) -> Namespace<str, Bytes, DbError> {
    let namespace = cache.namespace("traceback", tiercache::Raw);
    namespace.shared_only().build().unwrap()
}

/// The memory of the local level of the cache under test.
pub(crate) const MEMORY: u64 = 1 << 20;

/// As [`config`], with local entries and stale fallbacks of up to [`MAX_STALE`].
pub(crate) fn local_config(cache: &Cache, ttl: Duration) -> NamespaceBuilder<str, u64, DbError> {
    with_prefix(cache, "test:row:", ttl).verify_with(|one, other| one == other)
}

/// As [`local_config`], under another prefix and without samples.
pub(crate) fn with_prefix(
    cache: &Cache,
    prefix: &str,
    ttl: Duration,
) -> NamespaceBuilder<str, u64, DbError> {
    cache
        .namespace(prefix, codec(|version| payload(*version), decode))
        .name("row")
        .ttl(ttl)
        .weight(|_| 8)
        .stale_if(|error| *error == DbError::Unavailable, MAX_STALE)
}

pub(crate) fn decode(payload: &Bytes) -> Option<u64> {
    let json: serde_json::Value = serde_json::from_slice(payload).ok()?;
    json.get("v")?.as_u64()
}

pub(crate) fn payload(version: u64) -> Bytes {
    format!("{{\"v\":{version}}}").into()
}

pub(crate) fn shared_hit(version: u64) -> Response {
    Ok(Read {
        value: version,
        source: Source::Shared,
    })
}

pub(crate) fn local_hit(version: u64) -> Response {
    Ok(Read {
        value: version,
        source: Source::Local,
    })
}

pub(crate) fn loaded(version: u64) -> Response {
    Ok(Read {
        value: version,
        source: Source::Loaded,
    })
}

/// Timeouts that a healthy Valkey meets even on an overloaded machine.
pub(crate) fn long_timeouts(url: String) -> CacheBuilder {
    Cache::builder(url)
        .read_timeout(Duration::from_secs(10))
        .write_timeout(Duration::from_secs(10))
        .connect_timeout(Duration::from_secs(10))
}

/// As [`long_timeouts`], with a local level.
pub(crate) fn local_settings(url: String) -> CacheBuilder {
    long_timeouts(url).memory(MEMORY)
}

/// A Valkey, and a cache connected to it.
pub(crate) struct Fixture {
    pub(crate) valkey: Level,
    pub(crate) raw: Raw,
    pub(crate) cache: Cache,
    pub(crate) rows: Rows,
    pub(crate) database: Database,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        Self::with(long_timeouts).await
    }

    /// With the default timeouts.
    pub(crate) async fn defaults() -> Self {
        Self::with(Cache::builder).await
    }

    pub(crate) async fn with(settings: impl FnOnce(String) -> CacheBuilder) -> Self {
        let valkey = Level::start().await;
        let raw = Raw::connect_all(&valkey).await;
        let (cache, rows) = cache(settings(valkey.url())).await;
        Self {
            valkey,
            raw,
            cache,
            rows,
            database: Database::default(),
        }
    }

    /// Starts another replica on the same Valkey, behind a proxy.
    pub(crate) async fn replica(&self, settings: impl FnOnce(String) -> CacheBuilder) -> Replica {
        let proxy = Proxies::start(&self.valkey).await;
        let (cache, rows) = cache(settings(proxy.url())).await;
        Replica { proxy, cache, rows }
    }

    pub(crate) async fn get(&self) -> Response {
        self.rows.get_or_load(NAME, self.database.loader()).await
    }

    pub(crate) async fn put(&self) -> u64 {
        put(&self.rows, &self.database).await
    }

    pub(crate) fn stats(&self) -> NamespaceStats {
        stats(&self.cache)
    }
}

pub(crate) struct Replica {
    pub(crate) proxy: Proxies,
    pub(crate) cache: Cache,
    pub(crate) rows: Rows,
}

/// A cache with a namespace, which is kept locally if the cache has memory.
pub(crate) async fn cache(builder: CacheBuilder) -> (Cache, Rows) {
    let cache = builder.connect().unwrap();
    let rows = Rows::build(local_config(&cache, TTL));
    wait_for_shared_level(&cache, true).await;
    wait_for_tracking(&cache).await;
    (cache, rows)
}

pub(crate) fn stats(cache: &Cache) -> NamespaceStats {
    cache.stats().namespaces.swap_remove(0)
}
