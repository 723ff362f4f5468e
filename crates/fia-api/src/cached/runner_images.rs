//! The container images that jobs can run in, from GitHub.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tiercache::{Cache, ConfigError, Source, codec};

use crate::cached::traces::lookup;
use crate::cached::{
    Body, CacheError, Cached, CachedResponse, CachedResult, Freshness, KeyStatistics, Read,
    ReadFacts, cause, is_outage,
};
use crate::model::json::render;
use crate::upstream::Packages;

/// The organisation and image, as they appear in the key.
const NAME: &str = "fiaisis:mantid";
/// The age limit of the last known images, which are served while GitHub is unavailable.
const MAX_AGE: Duration = Duration::from_secs(3600);
/// The time after a failure in which GitHub is not queried, while there are last known images.
const BACKOFF: Duration = Duration::from_secs(10);

/// The runner images.
pub(super) struct RunnerImages {
    packages: Arc<Packages>,
    namespace: Read<str, Arc<Versions>, CacheError>,
    last: Mutex<Last>,
}

/// The versions of the image's package: as GitHub lists them, and as the response body.
pub(super) struct Versions {
    payload: Bytes,
    body: Body,
}

/// The last outcome.
#[derive(Default)]
struct Last {
    body: Option<(Instant, Body)>,
    failure: Option<Instant>,
}

impl RunnerImages {
    pub(super) fn new(
        cache: &Cache,
        ttl: Duration,
        packages: Packages,
        keys: Option<&Arc<KeyStatistics>>,
    ) -> Result<Self, ConfigError> {
        let codec = codec(
            |versions: &Arc<Versions>| versions.payload.clone(),
            |payload| Versions::read(payload.clone()).map(Arc::new),
        );
        let name = (
            "runner_images",
            "fia_api:github:packages:",
            "{owner}:{image}",
        );
        let facts = ReadFacts::new(name, (ttl, MAX_AGE), keys);
        // One entry with few readers; the last known one is kept in `last`.
        let namespace = cache
            .namespace(facts.prefix, codec)
            .name(facts.name)
            .ttl(ttl)
            .shared_only()
            .stale_if(is_outage, Duration::ZERO)
            .build()?;
        Ok(Self {
            packages: Arc::new(packages),
            namespace: Read::new(namespace, facts, |versions| versions.payload.len()),
            last: Mutex::default(),
        })
    }

    pub(super) fn read(&self) -> &Read<str, Arc<Versions>, CacheError> {
        &self.namespace
    }

    async fn get(&self, freshness: Freshness) -> CachedResult {
        let may_be_stale = freshness == Freshness::FailSafe;
        if may_be_stale && let Some(known) = self.last().during_backoff(Instant::now()) {
            return Ok(known);
        }
        let packages = Arc::clone(&self.packages);
        let load = async move || match packages.versions().await {
            Ok(versions) => Versions::read(list(&versions))
                .map(Arc::new)
                .ok_or(CacheError::GitHub),
            Err(error) => {
                tracing::warn!(%error, "GitHub unavailable: runner images not loaded");
                Err(CacheError::GitHub)
            }
        };
        let found = lookup(&self.namespace, ("runner_images", NAME), load)
            .await
            .map_err(cause);
        let found = found.map(|found| (found.value, found.source));
        match self.last().record(found, Instant::now()) {
            Ok(last_known) if last_known.is_stale() && !may_be_stale => Err(CacheError::GitHub),
            recorded => recorded,
        }
    }

    fn last(&self) -> parking_lot::MutexGuard<'_, Last> {
        self.last.lock()
    }
}

impl Last {
    /// The last known images during the backoff after a failure.
    fn during_backoff(&self, now: Instant) -> Option<CachedResponse> {
        let failure = self.failure?;
        let backs_off = now.duration_since(failure) < BACKOFF;
        backs_off.then(|| self.last_known(now)).flatten()
    }

    fn last_known(&self, now: Instant) -> Option<CachedResponse> {
        let (since, body) = self.body.as_ref()?;
        let age = now.duration_since(*since);
        (age <= MAX_AGE).then(|| CachedResponse {
            body: body.clone(),
            source: Source::Stale { age, past_ttl: age },
            bypass: None,
            local: None,
        })
    }

    /// Records an outcome; a failure yields the last known images instead.
    fn record(
        &mut self,
        found: Result<(Arc<Versions>, Source), CacheError>,
        now: Instant,
    ) -> CachedResult {
        match found {
            Ok((versions, source)) => {
                let body = versions.body.clone();
                self.body = Some((now, body.clone()));
                self.failure = None;
                Ok(CachedResponse {
                    body,
                    source,
                    bypass: None,
                    local: None,
                })
            }
            Err(error) => {
                self.failure = Some(now);
                self.last_known(now).ok_or(error)
            }
        }
    }
}

impl Cached {
    /// The images that jobs can run in; while GitHub is unavailable, the last known ones, up to an
    /// hour old, unless the caller needs more freshness.
    ///
    /// # Errors
    /// [`CacheError::GitHub`] where it is unavailable and there are no last known images.
    pub async fn runner_images(&self, freshness: Freshness) -> CachedResult {
        self.runner_images.get(freshness).await
    }
}

#[derive(Deserialize)]
struct Version {
    name: String,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Deserialize, Default)]
struct Metadata {
    #[serde(default)]
    container: Container,
}

#[derive(Deserialize, Default)]
struct Container {
    #[serde(default)]
    tags: Vec<String>,
}

impl Versions {
    /// Parses GitHub's list; omits versions without a tag, which jobs cannot name.
    fn read(payload: Bytes) -> Option<Self> {
        let versions: Vec<Version> = serde_json::from_slice(&payload).ok()?;
        let mut images = Map::new();
        for version in versions {
            if let Some(tag) = version.metadata.container.tags.into_iter().next() {
                images.insert(version.name, Value::String(tag));
            }
        }
        let body = Body::new(render(&images));
        Some(Self { payload, body })
    }
}

/// A JSON array of JSON texts.
fn list(items: &[Box<RawValue>]) -> Bytes {
    let items: Vec<&str> = items.iter().map(|item| item.get()).collect();
    format!("[{}]", items.join(",")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(payload: &'static str) -> Option<Versions> {
        Versions::read(Bytes::from_static(payload.as_bytes()))
    }

    #[test]
    fn images_keep_their_order_and_have_their_first_tag() {
        let payload = r#"[
            {"name": "z", "metadata": {"container": {"tags": ["2", "latest"]}}, "id": 1},
            {"name": "untagged", "metadata": {"container": {"tags": []}}},
            {"name": "other"},
            {"name": "a", "metadata": {"container": {"tags": ["1"]}}}]"#;
        let body = versions(payload).unwrap().body;
        assert_eq!(body.bytes(), r#"{"z":"2","a":"1"}"#);
        for payload in ["{}", "[1]", r#"[{"name": 1}]"#, "null"] {
            assert!(versions(payload).is_none(), "{payload}");
        }
    }

    #[test]
    fn last_known_images_are_served_for_an_hour_and_marked_stale() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut last = Last::default();
        let failure = || Err(CacheError::GitHub);
        assert_eq!(
            last.record(failure(), start).unwrap_err(),
            CacheError::GitHub
        );
        assert!(last.during_backoff(start).is_none());

        let loaded = (Arc::new(versions("[]").unwrap()), Source::Loaded);
        let fresh = last.record(Ok(loaded), start);
        assert_eq!(fresh.unwrap().source, Source::Loaded);
        assert!(last.during_backoff(after(1)).is_none());

        let stale = last.record(failure(), after(60)).unwrap().source;
        let age = Duration::from_secs(60);
        assert_eq!(stale, Source::Stale { age, past_ttl: age });
        assert!(last.during_backoff(after(69)).is_some());
        assert!(last.during_backoff(after(70)).is_none());
        assert!(last.record(failure(), after(3600)).is_ok());
        assert!(last.record(failure(), after(3601)).is_err());
    }
}
