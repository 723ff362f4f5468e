//! The test fixture: a Valkey, a cache, and further replicas behind proxies.

mod database;
mod raw;

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use devstack::{FaultProxy, Valkey};
use futures_util::future::BoxFuture;
use tiercache::{
    Cache, CachedValue, Failure, LocalPolicy, LocalSettings, Namespace, NamespaceConfig,
    NamespaceStats, Settings, Source,
};

pub(crate) use database::{Database, DbError, Gate, no_load};
pub(crate) use raw::{Raw, assert_marker, foreign_marker};

pub(crate) const NAME: &str = "MARI";
pub(crate) const KEY: &str = "test:row:MARI";
pub(crate) const TTL: Duration = Duration::from_secs(60);
/// The maximum age beyond the TTL of a fallback value while the database is unavailable.
pub(crate) const MAX_STALE: Duration = Duration::from_secs(30);

/// The namespace under test: the version of a row, stored as `{"v":…}`.
pub(crate) type Rows = Namespace<u64, DbError>;
pub(crate) type Response = Result<CachedValue<u64>, Failure<DbError>>;

pub(crate) fn config(ttl: Duration) -> NamespaceConfig<u64, DbError> {
    NamespaceConfig {
        name: "row",
        prefix: "test:row:",
        ttl,
        is_shared: true,
        local: None,
        decode: |payload| {
            let json: serde_json::Value = serde_json::from_slice(payload).ok()?;
            json.get("v")?.as_u64()
        },
        encode: |version| payload(*version),
        is_outage: |error| *error == DbError::Unavailable,
    }
}

/// The local level of the cache under test.
pub(crate) fn local() -> Option<LocalSettings> {
    Some(LocalSettings { max_bytes: 1 << 20 })
}

/// As [`config`], with local entries and stale fallbacks of up to [`MAX_STALE`].
pub(crate) fn local_config(ttl: Duration) -> NamespaceConfig<u64, DbError> {
    NamespaceConfig {
        local: Some(LocalPolicy {
            bytes: |_| 8,
            max_stale: MAX_STALE,
            same: Some(|one, other| one == other),
        }),
        ..config(ttl)
    }
}

pub(crate) fn payload(version: u64) -> Bytes {
    format!("{{\"v\":{version}}}").into()
}

pub(crate) fn shared_hit(version: u64) -> Response {
    Ok(CachedValue {
        value: version,
        source: Source::Shared,
    })
}

pub(crate) fn local_hit(version: u64) -> Response {
    Ok(CachedValue {
        value: version,
        source: Source::Local,
    })
}

pub(crate) fn loaded(version: u64) -> Response {
    Ok(CachedValue {
        value: version,
        source: Source::Loaded,
    })
}

/// Timeouts that a healthy Valkey meets even on an overloaded machine.
pub(crate) fn long_timeouts(url: String) -> Settings {
    Settings {
        url: Some(url),
        read_timeout: Duration::from_secs(10),
        write_timeout: Duration::from_secs(10),
        connect_timeout: Duration::from_secs(10),
        ..Settings::default()
    }
}

/// As [`long_timeouts`], with a local level.
pub(crate) fn local_settings(url: String) -> Settings {
    Settings {
        local: local(),
        ..long_timeouts(url)
    }
}

/// A Valkey, and a cache connected to it.
pub(crate) struct Fixture {
    pub(crate) valkey: Valkey,
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
        Self::with(|url| Settings {
            url: Some(url),
            ..Settings::default()
        })
        .await
    }

    pub(crate) async fn with(settings: impl FnOnce(String) -> Settings) -> Self {
        let valkey = Valkey::start().await.unwrap();
        let raw = Raw::connect(&valkey).await;
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
    pub(crate) async fn replica(&self, settings: impl FnOnce(String) -> Settings) -> Replica {
        let proxy = FaultProxy::start(self.valkey.addr()).await.unwrap();
        let (cache, rows) = cache(settings(format!("redis://{}/0", proxy.addr()))).await;
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
    pub(crate) proxy: FaultProxy,
    pub(crate) cache: Cache,
    pub(crate) rows: Rows,
}

pub(crate) async fn cache(settings: Settings) -> (Cache, Rows) {
    let is_local = settings.local.is_some();
    let cache = Cache::new(settings).unwrap();
    let config = if is_local {
        local_config(TTL)
    } else {
        config(TTL)
    };
    let rows = cache.namespace(config).unwrap();
    cache.wait_for_shared_level(true).await;
    cache.wait_for_tracking().await;
    (cache, rows)
}

pub(crate) fn stats(cache: &Cache) -> NamespaceStats {
    cache.stats().namespaces.swap_remove(0)
}

/// Updates the row in a transaction with a write fence.
pub(crate) async fn put(rows: &Rows, database: &Database) -> u64 {
    let database = database.clone();
    rows.write(NAME, Vec::new(), move |fence| async move {
        database.update(fence).await
    })
    .await
    .unwrap()
}

/// Polls a request once, so that it is enqueued as a waiter, and spawns it.
pub(crate) fn enqueue<F>(rows: &Rows, load: F) -> tokio::task::JoinHandle<Response>
where
    F: FnOnce() -> BoxFuture<'static, Result<u64, DbError>> + Send + 'static,
{
    let rows = rows.clone();
    let mut request = Box::pin(async move { rows.get_or_load(NAME, load).await });
    let waker = std::task::Waker::noop();
    let first = request
        .as_mut()
        .poll(&mut std::task::Context::from_waker(waker));
    assert!(first.is_pending());
    tokio::spawn(request)
}

/// Polls a condition until it holds; panics after 20 s.
pub(crate) async fn wait_until(what: &str, mut happened: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !happened().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait)
        .await
        .unwrap_or_else(|_| panic!("timed out waiting for: {what}"));
}

/// Waits until the shared level is up or down; panics after 20 s.
pub(crate) async fn wait_for_shared_level(cache: &Cache, up: bool) {
    tokio::time::timeout(Duration::from_secs(20), cache.wait_for_shared_level(up))
        .await
        .unwrap_or_else(|_| panic!("timed out waiting for the shared level, up: {up}"));
}

/// Panics if a request takes over 1 s while Valkey is unavailable. (The timeouts add up to
/// 300 ms; the rest is a margin for concurrently running tests.)
pub(crate) async fn within_a_second<T: Debug>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(1), work)
        .await
        .expect("took over 1 s")
}
