//! Comparison with the origin: of a sample of local hits, and of the shared level after a write,
//! while legacy clients may still store values that they read before it.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::clock::Moment;
use crate::event::Event;
use crate::namespace::config::Same;
use crate::namespace::{Inner, Namespace, with_name};
use crate::protocol::marker::Stored;
use crate::read::in_flight::Loader;
use crate::seams;
use crate::seams::{Instant, sleep};

/// One of this many local hits is compared.
const SAMPLE_INTERVAL: u64 = 1_000;
/// The times after a write at which its entry is compared.
const VERIFY_DELAYS: [Duration; 3] = [
    Duration::from_millis(500),
    Duration::from_secs(2),
    Duration::from_secs(5),
];

impl<V, E> Inner<V, E> {
    /// Whether to compare this local hit.
    pub(crate) fn is_sample(&self, hits: u64) -> bool {
        hits % SAMPLE_INTERVAL == SAMPLE_INTERVAL - 1 && self.same().is_some()
    }

    fn same(&self) -> Option<&Same<V>> {
        self.config.local.as_ref()?.same.as_ref()
    }

    async fn payload(&self, key: &str) -> Option<Bytes> {
        let connection = self.shared.connection(key)?;
        let limit = self.shared.settings.read_timeout;
        match connection.get(key, limit).await {
            Ok(Stored::Payload(payload)) => Some(payload),
            _ => None,
        }
    }
}

/// Compares the local value with a newly loaded one. It is stale if they differ and the entry is
/// still current after the load.
pub(crate) async fn run<V, E>(namespace: Arc<Inner<V, E>>, name: String, load: Loader<V, E>)
where
    V: Clone + Send + Sync + 'static,
{
    let (key, now) = (namespace.entry_key(&name), Moment::now());
    let Some(entry) = namespace.get_local(key, now) else {
        return;
    };
    let Ok(loaded) = load().await else {
        return;
    };
    namespace.counters.samples.one();
    let same = namespace
        .same()
        .is_none_or(|same| same(&entry.value, &loaded));
    if !same && namespace.is_current(&entry, Moment::now()) {
        namespace.counters.samples_stale.one();
        let key = namespace.key(&name);
        namespace
            .shared
            .settings
            .events
            .emit(Event::StaleSample { key: &key });
        tracing::warn!(key, "stale local cache hit");
    }
}

impl<K, V, E> Namespace<K, V, E>
where
    K: Display + ?Sized,
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    /// Compares the entry of the shared level with `load` 0.5, 2 and 5 s after a
    /// [`Cache::write`](crate::Cache::write), and invalidates it if they differ. Useful while legacy clients
    /// fill keys without a lease. Returns at once.
    pub fn verify_after_write<F, Fut>(&self, key: &K, load: F)
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<V, E>> + Send + 'static,
    {
        let (namespace, name) = (Arc::clone(&self.0), with_name(key, str::to_owned));
        seams::spawn(async move {
            let written = Instant::now();
            for delay in VERIFY_DELAYS {
                sleep((written + delay).saturating_duration_since(Instant::now())).await;
                namespace.verify(&name, &load).await;
            }
        });
    }
}

impl<V, E> Inner<V, E>
where
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    async fn verify<F, Fut>(&self, name: &str, load: &F)
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<V, E>> + Send + 'static,
    {
        let key = self.key(name);
        let Some(before) = self.payload(&key).await else {
            return;
        };
        let (Ok(value), Ok(loaded)) = (self.config.decode(&before), load().await) else {
            return;
        };
        let same = self.same().is_none_or(|same| same(&value, &loaded));
        // Read again: a later write may have replaced the payload during the load.
        if !same && self.payload(&key).await.as_ref() == Some(&before) {
            self.counters.stale_after_write.one();
            tracing::warn!(key, "stale value in Valkey after a write: invalidating");
            self.invalidate(name).await;
        }
    }
}
