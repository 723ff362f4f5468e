//! The experiments of users. They decide what a user may see, so they are never served past their
//! TTL.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tiercache::{Cache, LocalPolicy, Namespace, NamespaceConfig, OverlappingPrefix};

use crate::cached::{CacheError, Cached, cause, is_outage};
use crate::model::json::render;
use crate::store::jobs::Viewer;
use crate::upstream;

/// The experiments of users. Cheap to clone.
#[derive(Clone)]
pub(super) struct Experiments {
    service: Arc<upstream::Experiments>,
    namespace: Namespace<Arc<[i64]>, CacheError>,
}

impl Experiments {
    pub(super) fn new(
        cache: &Cache,
        ttl: Duration,
        service: upstream::Experiments,
    ) -> Result<Self, OverlappingPrefix> {
        Ok(Self {
            service: Arc::new(service),
            namespace: cache.namespace(NamespaceConfig {
                name: "experiments",
                prefix: "fia_api:auth:experiments:",
                ttl,
                is_shared: true,
                // Never stale: access that was revoked must end.
                local: Some(LocalPolicy {
                    bytes: |numbers: &Arc<[i64]>| size_of_val::<[i64]>(numbers) + 64,
                    max_stale: Duration::ZERO,
                    same: None,
                }),
                decode: read_numbers,
                encode: |numbers| render(&numbers.as_ref()),
                is_outage,
            })?,
        })
    }

    async fn of(&self, user_number: i32) -> Result<Arc<[i64]>, CacheError> {
        if user_number < 0 {
            // The user of the API key, unknown to the auth service.
            return Ok(Arc::default());
        }
        let service = Arc::clone(&self.service);
        let load = async move || {
            service.of(user_number).await.map_err(|error| {
                tracing::error!(%error, "auth service unavailable: experiments of a user not loaded");
                CacheError::Unavailable
            })
        };
        let found = self
            .namespace
            .get_or_load(&user_number.to_string(), load)
            .await;
        found.map(|found| found.value).map_err(cause)
    }

    /// A user with the experiments that they may see.
    pub(super) async fn viewer(&self, user_number: i32) -> Result<Viewer, CacheError> {
        Ok(Viewer {
            user_number,
            experiments: self.of(user_number).await?,
        })
    }
}

impl Cached {
    /// The experiment (RB) numbers of a user.
    ///
    /// # Errors
    /// [`CacheError::Unavailable`] where the auth service is unavailable and nothing is cached.
    pub async fn experiments(&self, user_number: i32) -> Result<Arc<[i64]>, CacheError> {
        self.experiments.of(user_number).await
    }
}

fn read_numbers(payload: &Bytes) -> Option<Arc<[i64]>> {
    let numbers: Vec<i64> = serde_json::from_slice(payload).ok()?;
    Some(numbers.into())
}
