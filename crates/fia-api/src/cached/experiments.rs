//! Who takes part in which experiment: what users may see hangs on it, so it is never served
//! beyond its time to live.

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
    class: Namespace<Arc<[i64]>, CacheError>,
}

impl Experiments {
    pub(super) fn new(
        cache: &Cache,
        ttl: Duration,
        service: upstream::Experiments,
    ) -> Result<Self, OverlappingPrefix> {
        Ok(Self {
            service: Arc::new(service),
            class: cache.namespace(NamespaceConfig {
                name: "experiments",
                prefix: "fia_api:auth:experiments:",
                ttl,
                is_shared: true,
                // Nobody sees anything by a right that may have ended.
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
            // The API key's user, whom the auth service does not know.
            return Ok(Arc::default());
        }
        let service = Arc::clone(&self.service);
        let load = async move || {
            service.of(user_number).await.map_err(|error| {
                tracing::error!(%error, "a user's experiments cannot be had from the auth service");
                CacheError::Unavailable
            })
        };
        let found = self.class.get_or_load(&user_number.to_string(), load).await;
        found.map(|found| found.value).map_err(cause)
    }

    /// A user with what they may see.
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
    /// [`CacheError::Unavailable`] where the auth service does not tell and nothing is cached.
    pub async fn experiments(&self, user_number: i32) -> Result<Arc<[i64]>, CacheError> {
        self.experiments.of(user_number).await
    }
}

fn read_numbers(payload: &Bytes) -> Option<Arc<[i64]>> {
    let numbers: Vec<i64> = serde_json::from_slice(payload).ok()?;
    Some(numbers.into())
}
