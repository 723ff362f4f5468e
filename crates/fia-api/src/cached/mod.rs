//! Every cached read with its key, time to live, payload and loader, and the writes that
//! change them: stale data has this one place to look.
//!
//! Keys, payloads and times to live are shared with replicas of the older server.

mod body;
mod change_feed;
mod experiments;
mod instruments;
mod jobs;
mod payload;
mod runner_images;

use std::fmt;
use std::sync::Arc;

use secrecy::ExposeSecret;
use tiercache::{Cache, CachedValue, Failure, LocalSettings, Namespace, Settings, Source};

use crate::config;
use crate::store::{ChangeFeed, Db, StoreError};
use crate::upstream;

pub use body::Body;

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CacheError {
    /// What was asked for does not exist.
    #[error("record missing")]
    Missing,
    /// The database, or who else has the answer, cannot be asked just now.
    #[error("unavailable")]
    Unavailable,
    /// A filter's text is not of the kind it is compared with.
    #[error("bad filter")]
    BadFilter,
    /// GitHub does not answer, and nothing is known from before.
    #[error("GitHub unavailable")]
    GitHub,
    /// A defect; its cause is in the log.
    #[error("internal error")]
    Internal,
}

/// Finished bodies, ready to send.
type Bodies = Namespace<Body, CacheError>;

/// The cached reads, and the writes that change them.
pub struct Cached {
    db: Db,
    cache: Cache,
    instruments: instruments::InstrumentCaches,
    jobs: jobs::JobCaches,
    experiments: experiments::Experiments,
    runner_images: runner_images::RunnerImages,
    guards_writes: bool,
    follower: Option<change_feed::Follower>,
}

/// What is cached of others.
#[derive(Debug)]
pub struct Upstreams {
    /// Users' experiments.
    pub experiments: upstream::Experiments,
    /// The runner images.
    pub packages: upstream::Packages,
}

impl Cached {
    /// Prepares the cache in front of a database and others; none of them needs to be there. With
    /// a feed, what others change is invalidated when it tells of it. To be called within a
    /// Tokio runtime.
    ///
    /// # Errors
    /// When the URL of Valkey cannot be parsed, or two namespaces overlap.
    pub fn new(
        config: &config::Cache,
        db: Db,
        upstreams: Upstreams,
        feed: Option<ChangeFeed>,
    ) -> Result<Self, tiercache::ConfigError> {
        let url = config.valkey_url.as_ref().filter(|_| config.shared);
        let cache = Cache::new(Settings {
            url: url.map(|url| url.expose_secret().to_owned()),
            local: config.local.then_some(LocalSettings {
                max_bytes: config.local_max_bytes,
            }),
            ..Settings::default()
        })?;
        let instruments = instruments::InstrumentCaches::new(&cache, config)?;
        Ok(Self {
            follower: feed.map(|feed| change_feed::Follower::start(feed, instruments.clone())),
            instruments,
            jobs: jobs::JobCaches::new(&cache, config)?,
            experiments: experiments::Experiments::new(
                &cache,
                config.ttl.experiments,
                upstreams.experiments,
            )?,
            runner_images: runner_images::RunnerImages::new(
                &cache,
                config.ttl.packages,
                upstreams.packages,
            )?,
            guards_writes: config.migration_guard,
            cache,
            db,
        })
    }

    /// Waits until changes in Valkey are told, so that answers are kept in memory.
    pub async fn until_tracking(&self) {
        self.cache.wait_for_tracking().await;
    }

    /// What the cache has done so far, and how its connections are.
    #[must_use]
    pub fn statistics(&self) -> tiercache::CacheStats {
        self.cache.stats()
    }
}

/// What a cached read gives.
#[derive(Debug, Clone)]
pub struct CachedResponse {
    /// The body.
    pub body: Body,
    /// Where it came from.
    pub source: Source,
    /// How to have it again without a wait, if it came from memory.
    pub local: Option<LocalHandle>,
}

type CachedResult = Result<CachedResponse, CacheError>;

/// A cached read that was answered from memory, to be asked for again.
#[derive(Clone)]
pub struct LocalHandle(Arc<dyn Fn() -> Option<Body> + Send + Sync>);

impl LocalHandle {
    /// The body, if memory still has it and it is current; else the read itself is to be asked.
    #[must_use]
    pub fn body(&self) -> Option<Body> {
        (self.0)()
    }
}

impl fmt::Debug for LocalHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalHandle")
    }
}

impl CachedResponse {
    fn new<E>(class: &Namespace<Body, E>, name: &str, found: CachedValue<Body>) -> Self
    where
        E: Clone + Send + Sync + 'static,
    {
        let local = (found.source == Source::Local).then(|| {
            let (class, name) = (class.clone(), name.to_owned());
            LocalHandle(Arc::new(move || class.get_local(&name)))
        });
        Self {
            body: found.value,
            source: found.source,
            local,
        }
    }
}

impl From<CachedValue<Body>> for CachedResponse {
    fn from(found: CachedValue<Body>) -> Self {
        Self {
            body: found.value,
            source: found.source,
            local: None,
        }
    }
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

fn is_outage(error: &CacheError) -> bool {
    matches!(error, CacheError::Unavailable | CacheError::GitHub)
}

impl From<StoreError> for CacheError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy | StoreError::Unavailable(_) => {
                tracing::warn!(%error, "a request cannot be served");
                Self::Unavailable
            }
            StoreError::Refused(_) | StoreError::BadValue(_) => {
                tracing::error!(%error, "a statement failed");
                Self::Internal
            }
        }
    }
}
