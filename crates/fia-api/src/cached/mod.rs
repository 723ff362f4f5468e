//! Every cached read with its key, TTL, payload and loader, and the writes that invalidate them.
//! Whatever serves stale data is here.
//!
//! Keys, payloads and TTLs are shared with replicas of the older server.

mod body;
mod change_feed;
mod columns;
mod experiments;
mod freshness;
mod instruments;
mod job_groups;
mod jobs;
mod key_statistics;
mod operate;
mod payload;
mod read;
mod runner_images;
mod traces;
mod valkey_health;

use std::borrow::Borrow;
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use secrecy::ExposeSecret;
use tiercache::{Cache, CachedValue, Failure, NamespaceBuilder, Source, codec};

use crate::config;
use crate::store::{ChangeFeed, Db, Reachability, StoreError};
use crate::upstream;

pub use body::Body;
pub use freshness::{Bypass, Freshness};
pub use job_groups::JobGroups;
pub use key_statistics::{KeyOrder, KeyStatistics};
pub use read::ReadFacts;
pub use valkey_health::ValkeyHealth;

use read::Read;

/// The failure of a cached read or of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CacheError {
    /// The requested record does not exist.
    #[error("record missing")]
    Missing,
    /// The database or the auth service is unavailable.
    #[error("unavailable")]
    Unavailable,
    /// A filter's value cannot be parsed as the type of its column.
    #[error("bad filter")]
    BadFilter,
    /// GitHub is unavailable, and there is no last known value.
    #[error("GitHub unavailable")]
    GitHub,
    /// A defect; the log has its cause.
    #[error("internal error")]
    Internal,
}

/// A cached read of response bodies.
type Bodies<K = str> = Read<K, Body, CacheError>;

/// Begins a namespace of response bodies. `read` yields the body of a payload in Valkey, and
/// `write` the payload of a body.
fn bodies<K: ?Sized>(
    cache: &Cache,
    prefix: &str,
    max_stale: Duration,
    read: impl Fn(&Bytes) -> Option<Bytes> + Send + Sync + 'static,
    write: impl Fn(&Bytes) -> Bytes + Send + Sync + 'static,
) -> NamespaceBuilder<K, Body, CacheError> {
    let codec = codec(
        move |body: &Body| write(body.bytes()),
        move |payload| read(payload).map(Body::new),
    );
    let namespace = cache.namespace(prefix, codec);
    namespace
        .weight(Body::memory)
        .stale_if(is_outage, max_stale)
}

/// The cached reads, and the writes that invalidate them.
pub struct Cached {
    db: Db,
    cache: Cache,
    instruments: instruments::InstrumentCaches,
    jobs: jobs::JobCaches,
    job_groups: JobGroups,
    experiments: experiments::Experiments,
    runner_images: runner_images::RunnerImages,
    guards_writes: bool,
    reachability: Reachability,
    /// The reads that bypassed the cache.
    bypasses: AtomicU64,
    follower: Option<change_feed::Follower>,
    keys: Option<Arc<KeyStatistics>>,
    valkey_health: Arc<ValkeyHealth>,
}

/// The services whose data is cached.
#[derive(Debug)]
pub struct Upstreams {
    /// Users' experiments.
    pub experiments: upstream::Experiments,
    /// The runner images.
    pub packages: upstream::Packages,
}

impl Cached {
    /// Creates the cache; Valkey, the database and the services need not be reachable yet. The
    /// probe decides when callers with the API key are served from the cache. With a change feed,
    /// changes by other clients invalidate. Statistics of keys are optional. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// When the URL of Valkey cannot be parsed, or two namespaces overlap.
    pub fn new(
        config: &config::Cache,
        db: Db,
        reachability: Reachability,
        upstreams: Upstreams,
        feed: Option<ChangeFeed>,
        keys: Option<Arc<KeyStatistics>>,
    ) -> Result<Self, tiercache::ConfigError> {
        let url = config.valkey_url.as_ref().filter(|_| config.shared);
        let mut builder = match url {
            Some(url) => Cache::builder(url.expose_secret()).wait_replicas(config.wait_replicas),
            None => Cache::local_builder(),
        };
        if config.local {
            builder = builder.memory(config.local_max_bytes);
        }
        let valkey_health = Arc::new(ValkeyHealth::default());
        let health = Arc::clone(&valkey_health);
        builder = builder.on_event(move |event| health.record(event));
        let cache = builder.observer(traces::RequestObserver).connect()?;
        let instruments = instruments::InstrumentCaches::new(&cache, config, keys.as_ref())?;
        let job_groups = JobGroups::new(&cache, config)?;
        let caches = (instruments.clone(), job_groups.clone());
        Ok(Self {
            follower: feed.map(|feed| change_feed::Follower::start(feed, caches)),
            instruments,
            jobs: jobs::JobCaches::new(&cache, config, &job_groups, keys.as_ref())?,
            job_groups,
            experiments: experiments::Experiments::new(
                &cache,
                config.ttl.experiments,
                upstreams.experiments,
                keys.as_ref(),
            )?,
            runner_images: runner_images::RunnerImages::new(
                &cache,
                config.ttl.packages,
                upstreams.packages,
                keys.as_ref(),
            )?,
            guards_writes: config.migration_guard,
            reachability,
            bypasses: AtomicU64::new(0),
            keys,
            valkey_health,
            cache,
            db,
        })
    }

    /// Waits until client tracking is connected, so that the local cache is used.
    pub async fn wait_for_tracking(&self) {
        self.cache.wait_for_tracking().await;
    }

    /// The state of the connections to Valkey, since when, and their last failures.
    #[must_use]
    pub fn valkey_health(&self) -> &ValkeyHealth {
        &self.valkey_health
    }

    /// The groups of cached lists and counts of jobs, for writes of jobs.
    #[must_use]
    pub fn job_groups(&self) -> &JobGroups {
        &self.job_groups
    }

    /// Counters of the cache, and the state of its connections.
    #[must_use]
    pub fn statistics(&self) -> tiercache::CacheStats {
        self.cache.stats()
    }
}

/// The result of a cached read.
#[derive(Debug, Clone)]
pub struct CachedResponse {
    /// The response body.
    pub body: Body,
    /// The level of the cache that it came from.
    pub source: Source,
    /// Why the cache was bypassed, if it was.
    pub bypass: Option<Bypass>,
    /// A handle to read it again, if it came from the local cache.
    pub local: Option<LocalHandle>,
}

type CachedResult = Result<CachedResponse, CacheError>;

/// A handle to an entry of the local cache.
#[derive(Debug, Clone)]
pub struct LocalHandle {
    entry: tiercache::LocalHandle<Body, CacheError>,
    /// The key, with the statistics in which its hits are counted.
    counted: Option<(Arc<KeyStatistics>, Arc<str>)>,
}

impl LocalHandle {
    fn new<K: Display + ?Sized>(read: &Bodies<K>, rest: &K) -> Self {
        let key = || format!("{}{rest}", read.facts().prefix).into();
        let counted = read.facts().keys().map(|keys| (Arc::clone(keys), key()));
        let entry = read.local_handle(rest);
        Self { entry, counted }
    }

    /// The body, if the entry is current and no background work for it is due.
    #[must_use]
    pub fn get(&self) -> Option<Body> {
        let body = self.entry.get()?;
        if let Some((keys, key)) = &self.counted {
            keys.hit(key);
        }
        Some(body)
    }
}

impl CachedResponse {
    fn new<K: Display + ?Sized>(namespace: &Bodies<K>, name: &K, found: CachedValue<Body>) -> Self {
        let is_local = found.source == Source::Local;
        let local = is_local.then(|| LocalHandle::new(namespace, name));
        Self {
            body: found.value,
            source: found.source,
            bypass: None,
            local,
        }
    }
}

impl CachedResponse {
    /// Whether it is past its TTL.
    fn is_stale(&self) -> bool {
        matches!(self.source, Source::Stale { .. })
    }

    /// A body that was loaded past the cache.
    fn bypassing(body: Body, reason: Bypass) -> Self {
        Self {
            body,
            source: Source::Loaded,
            bypass: Some(reason),
            local: None,
        }
    }
}

/// The error of a failed read or write.
fn cause(failure: Failure<impl Borrow<CacheError>>) -> CacheError {
    match failure {
        Failure::Failed(error) => *error.borrow(),
        _ => {
            tracing::error!("cached read or write panicked");
            CacheError::Internal
        }
    }
}

fn is_outage(error: &CacheError) -> bool {
    matches!(error, CacheError::Unavailable | CacheError::GitHub)
}

impl From<StoreError> for CacheError {
    fn from(error: StoreError) -> Self {
        match error {
            // Counted, and logged once a second: there may be thousands.
            StoreError::Busy => Self::Unavailable,
            StoreError::Unavailable(_)
            | StoreError::Saturated(_)
            | StoreError::Failover(_)
            | StoreError::Lost(_) => {
                tracing::warn!(%error, "database unavailable: request fails");
                Self::Unavailable
            }
            StoreError::Refused(_) | StoreError::BadValue(_) => {
                tracing::error!(%error, "statement failed");
                Self::Internal
            }
        }
    }
}
