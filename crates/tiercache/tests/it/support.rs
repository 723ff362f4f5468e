//! What the tests share: a stage with a Valkey and a cache, a database of one row, gates.

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use devstack::{FaultProxy, Valkey};
use futures_util::future::BoxFuture;
use redis::aio::MultiplexedConnection;
use tiercache::{
    Cache, CachedValue, Failure, LocalPolicy, LocalSettings, Namespace, NamespaceConfig,
    NamespaceStats, Settings, Source, WriteFence,
};
use tokio::sync::{Mutex, oneshot};

pub(crate) const NAME: &str = "MARI";
pub(crate) const KEY: &str = "test:row:MARI";
pub(crate) const TTL: Duration = Duration::from_secs(60);
/// How long beyond that a value may serve while the database is away.
pub(crate) const MAX_STALE: Duration = Duration::from_secs(30);

/// The class under test: the version of a row, stored as `{"v":…}`.
pub(crate) type Rows = Namespace<u64, DbError>;
pub(crate) type Answer = Result<CachedValue<u64>, Failure<DbError>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DbError {
    /// There is no such row.
    NoRow,
    /// The database cannot be reached.
    Away,
}

pub(crate) fn spec(ttl: Duration) -> NamespaceConfig<u64, DbError> {
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
        is_outage: |error| *error == DbError::Away,
    }
}

/// What the test's cache keeps in memory.
pub(crate) fn local() -> Option<LocalSettings> {
    Some(LocalSettings { max_bytes: 1 << 20 })
}

/// As [`spec`], kept in memory, and served for a while when the database is away.
pub(crate) fn kept(ttl: Duration) -> NamespaceConfig<u64, DbError> {
    NamespaceConfig {
        local: Some(LocalPolicy {
            bytes: |_| 8,
            max_stale: MAX_STALE,
            same: Some(|one, other| one == other),
        }),
        ..spec(ttl)
    }
}

pub(crate) fn payload(version: u64) -> Bytes {
    format!("{{\"v\":{version}}}").into()
}

pub(crate) fn shared(version: u64) -> Answer {
    Ok(CachedValue {
        value: version,
        source: Source::Shared,
    })
}

pub(crate) fn local_hit(version: u64) -> Answer {
    Ok(CachedValue {
        value: version,
        source: Source::Local,
    })
}

pub(crate) fn loaded(version: u64) -> Answer {
    Ok(CachedValue {
        value: version,
        source: Source::Loaded,
    })
}

/// Limits no healthy Valkey exceeds, however busy the machine that runs the tests.
pub(crate) fn patient(url: String) -> Settings {
    Settings {
        url: Some(url),
        read_timeout: Duration::from_secs(10),
        write_timeout: Duration::from_secs(10),
        connect_timeout: Duration::from_secs(10),
        ..Settings::default()
    }
}

/// As [`patient`], with values in memory.
pub(crate) fn keeping(url: String) -> Settings {
    Settings {
        local: local(),
        ..patient(url)
    }
}

/// A Valkey, and a cache that uses it.
pub(crate) struct Stage {
    pub(crate) valkey: Valkey,
    pub(crate) raw: Raw,
    pub(crate) cache: Cache,
    pub(crate) rows: Rows,
    pub(crate) database: Database,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        Self::with(patient).await
    }

    /// With the limits of a live service.
    pub(crate) async fn live() -> Self {
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

    /// Another cache on the same Valkey, through a proxy.
    pub(crate) async fn neighbour(&self, settings: impl FnOnce(String) -> Settings) -> Neighbour {
        let proxy = FaultProxy::start(self.valkey.addr()).await.unwrap();
        let (cache, rows) = cache(settings(format!("redis://{}/0", proxy.addr()))).await;
        Neighbour { proxy, cache, rows }
    }

    pub(crate) async fn get(&self) -> Answer {
        self.rows.get_or_load(NAME, self.database.loader()).await
    }

    pub(crate) async fn put(&self) -> u64 {
        put(&self.rows, &self.database).await
    }

    pub(crate) fn stats(&self) -> NamespaceStats {
        stats(&self.cache)
    }
}

pub(crate) struct Neighbour {
    pub(crate) proxy: FaultProxy,
    pub(crate) cache: Cache,
    pub(crate) rows: Rows,
}

pub(crate) async fn cache(settings: Settings) -> (Cache, Rows) {
    let is_kept = settings.local.is_some();
    let cache = Cache::new(settings).unwrap();
    let spec = if is_kept { kept(TTL) } else { spec(TTL) };
    let rows = cache.namespace(spec).unwrap();
    cache.wait_for_shared_level(true).await;
    cache.wait_for_tracking().await;
    (cache, rows)
}

pub(crate) fn stats(cache: &Cache) -> NamespaceStats {
    cache.stats().namespaces.swap_remove(0)
}

/// Changes the row as a service does: a transaction around a fence.
pub(crate) async fn put(rows: &Rows, database: &Database) -> u64 {
    let database = database.clone();
    rows.write(NAME, Vec::new(), move |fence| async move {
        database.update(fence).await
    })
    .await
    .unwrap()
}

/// A database with one row: its version, and its lock.
#[derive(Clone, Default)]
pub(crate) struct Database(Arc<Row>);

#[derive(Default)]
struct Row {
    lock: Mutex<()>,
    version: AtomicU64,
    loads: AtomicU64,
}

impl Database {
    pub(crate) fn version(&self) -> u64 {
        self.0.version.load(Ordering::SeqCst)
    }

    pub(crate) fn loads(&self) -> u64 {
        self.0.loads.load(Ordering::SeqCst)
    }

    /// SELECT.
    pub(crate) fn select(&self) -> u64 {
        self.0.loads.fetch_add(1, Ordering::SeqCst);
        self.version()
    }

    pub(crate) fn loader(
        &self,
    ) -> impl FnOnce() -> BoxFuture<'static, Result<u64, DbError>> + Send + use<> {
        let database = self.clone();
        move || Box::pin(async move { Ok(database.select()) })
    }

    /// BEGIN, UPDATE, the fence, COMMIT.
    pub(crate) async fn update(&self, fence: WriteFence) -> Result<u64, DbError> {
        let lock = self.0.lock.lock().await;
        tokio::task::yield_now().await;
        fence.raise().await;
        tokio::task::yield_now().await;
        let version = self.0.version.fetch_add(1, Ordering::SeqCst) + 1;
        drop(lock);
        Ok(version)
    }
}

/// A loader that stops half-way until it is let go.
pub(crate) struct Gate {
    entered: Option<oneshot::Receiver<()>>,
    open: oneshot::Sender<()>,
}

impl Gate {
    /// The gate, and a loader that has run `act` when it stops at it.
    pub(crate) fn after<T: Send + 'static>(
        act: impl FnOnce() -> T + Send + 'static,
    ) -> (Self, impl FnOnce() -> BoxFuture<'static, T> + Send) {
        let (tell, entered) = oneshot::channel();
        let (open, opened) = oneshot::channel();
        let loader = move || -> BoxFuture<'static, T> {
            Box::pin(async move {
                let result = act();
                tell.send(()).unwrap();
                opened.await.unwrap();
                result
            })
        };
        (
            Self {
                entered: Some(entered),
                open,
            },
            loader,
        )
    }

    pub(crate) async fn entered(&mut self) {
        self.entered.take().unwrap().await.unwrap();
    }

    pub(crate) fn open(self) {
        self.open.send(()).unwrap();
    }
}

/// Begins a request: when this returns, it waits in its lane.
pub(crate) fn begin<F>(rows: &Rows, load: F) -> tokio::task::JoinHandle<Answer>
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

/// A loader that must not be called.
pub(crate) fn no_load() -> BoxFuture<'static, Result<u64, DbError>> {
    panic!("loaded, although it should not have been");
}

/// Waits for something that will happen and that nobody announces.
pub(crate) async fn until(what: &str, mut happened: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !happened().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait)
        .await
        .unwrap_or_else(|_| panic!("waited in vain until {what}"));
}

/// Waits until the shared level is in use, or is not.
pub(crate) async fn shared_level(cache: &Cache, up: bool) {
    tokio::time::timeout(Duration::from_secs(20), cache.wait_for_shared_level(up))
        .await
        .unwrap_or_else(|_| panic!("waited in vain for the shared level; up: {up}"));
}

/// A plain connection, to see and to set what Valkey holds.
#[derive(Clone)]
pub(crate) struct Raw(MultiplexedConnection);

impl Raw {
    pub(crate) async fn connect(valkey: &Valkey) -> Self {
        let client = redis::Client::open(valkey.url()).unwrap();
        Self(client.get_multiplexed_async_connection().await.unwrap())
    }

    pub(crate) async fn run<T: redis::FromRedisValue>(&self, words: &[&[u8]]) -> T {
        self.try_run(words).await.unwrap()
    }

    pub(crate) async fn try_run<T: redis::FromRedisValue>(
        &self,
        words: &[&[u8]],
    ) -> redis::RedisResult<T> {
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(*word);
        }
        command.query_async(&mut self.0.clone()).await
    }

    pub(crate) async fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.run(&[b"GET", key.as_bytes()]).await
    }

    pub(crate) async fn set(&self, key: &str, value: impl AsRef<[u8]>) {
        self.run::<()>(&[b"SET", key.as_bytes(), value.as_ref(), b"EX", b"60"])
            .await;
    }

    /// Changes what everybody may do (`+get -set`), other than this connection needs.
    pub(crate) async fn permit(&self, rules: &[u8]) {
        let mut words: Vec<&[u8]> = vec![b"ACL", b"SETUSER", b"default"];
        words.extend(rules.split(|byte| *byte == b' '));
        self.run::<()>(&words).await;
    }

    pub(crate) async fn pttl(&self, key: &str) -> Duration {
        let millis: i64 = self.run(&[b"PTTL", key.as_bytes()]).await;
        Duration::from_millis(u64::try_from(millis).expect("the key has no time to live"))
    }
}

/// What somebody else's lease or fence looks like.
pub(crate) fn foreign_marker(kind: u8) -> Vec<u8> {
    [b"null", &[kind][..], &[b' '; 64]].concat()
}

/// Panics unless these are the bytes of a lease (a tab) or a fence (a line feed).
#[track_caller]
pub(crate) fn assert_marker(bytes: &Option<Vec<u8>>, kind: u8) {
    let bytes = bytes.as_deref().expect("the key is empty");
    assert_eq!(bytes.len(), 69);
    assert_eq!(&bytes[..4], b"null");
    assert_eq!(bytes[4], kind);
    assert!(bytes[5..].iter().all(|byte| b" \t\n\r".contains(byte)));
    let older_reader: serde_json::Value = serde_json::from_slice(bytes).unwrap();
    assert!(older_reader.is_null());
}

/// Panics if a Valkey in trouble holds a request up. (At most 300 ms are meant to be possible;
/// the rest is for the machine, which runs other tests meanwhile.)
pub(crate) async fn quickly<T: Debug>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(1), work)
        .await
        .expect("held up")
}
