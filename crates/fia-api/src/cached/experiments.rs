//! The experiments of users. They decide what a user may see, so they are never served past their
//! TTL.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tiercache::{Cache, ConfigError, codec};

use crate::cached::traces::lookup;
use crate::cached::{CacheError, Cached, KeyStatistics, Read, ReadFacts, cause, is_outage};
use crate::model::json::render;
use crate::store::jobs::Viewer;
use crate::upstream;

/// The experiments of users. Cheap to clone.
#[derive(Clone)]
pub(super) struct Experiments {
    service: Arc<upstream::Experiments>,
    namespace: Read<i32, Arc<[i64]>, CacheError>,
    ttl: Duration,
}

impl Experiments {
    pub(super) fn new(
        cache: &Cache,
        ttl: Duration,
        service: upstream::Experiments,
        keys: Option<&Arc<KeyStatistics>>,
    ) -> Result<Self, ConfigError> {
        let codec = codec(
            |numbers: &Arc<[i64]>| render(&numbers.as_ref()),
            read_numbers,
        );
        let name = ("experiments", "fia_api:auth:experiments:", "{user_number}");
        let facts = ReadFacts::new(name, (ttl, Duration::ZERO), keys);
        let namespace = cache
            .namespace(facts.prefix, codec)
            .name(facts.name)
            .ttl(ttl)
            .weight(|numbers| size_of_val::<[i64]>(numbers) + 64)
            // Never stale: access that was revoked must end.
            .stale_if(is_outage, Duration::ZERO)
            .build()?;
        Ok(Self {
            service: Arc::new(service),
            ttl,
            namespace: Read::new(namespace, facts, |numbers| size_of_val::<[i64]>(numbers)),
        })
    }

    pub(super) fn read(&self) -> &Read<i32, Arc<[i64]>, CacheError> {
        &self.namespace
    }

    /// The experiments of a user, and the end of their TTL.
    async fn of(&self, user_number: i32) -> Result<(Arc<[i64]>, Instant), CacheError> {
        if user_number < 0 {
            // The user of the API key, unknown to the auth service.
            return Ok((Arc::default(), Instant::now() + self.ttl));
        }
        let service = Arc::clone(&self.service);
        let load = async move || {
            service.of(user_number).await.map_err(|error| {
                tracing::error!(%error, "auth service unavailable: experiments of a user not loaded");
                CacheError::Unavailable
            })
        };
        let found = lookup(&self.namespace, ("experiments", &user_number), load).await;
        let found = found.map_err(cause)?;
        let age = found.age.unwrap_or(self.ttl);
        let remaining = self.ttl.saturating_sub(age);
        Ok((found.value, Instant::now() + remaining))
    }

    /// A user with the experiments that they may see, and the end of the experiments' TTL.
    pub(super) async fn viewer(&self, user_number: i32) -> Result<(Viewer, Instant), CacheError> {
        let (experiments, valid_until) = self.of(user_number).await?;
        let viewer = Viewer {
            user_number,
            experiments,
        };
        Ok((viewer, valid_until))
    }
}

impl Cached {
    /// The experiment (RB) numbers of a user.
    ///
    /// # Errors
    /// [`CacheError::Unavailable`] where the auth service is unavailable and nothing is cached.
    pub async fn experiments(&self, user_number: i32) -> Result<Arc<[i64]>, CacheError> {
        Ok(self.experiments.of(user_number).await?.0)
    }
}

fn read_numbers(payload: &Bytes) -> Option<Arc<[i64]>> {
    let numbers: Vec<i64> = serde_json::from_slice(payload).ok()?;
    Some(numbers.into())
}
