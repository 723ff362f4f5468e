//! Comparing what is served with what the origin has: a few answers always, and after a write
//! for as long as an older server may still store what it had read before.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::class::{Inner, Namespace};
use crate::flight::Loader;
use crate::marker::Stored;

/// One answer from memory in so many is compared.
const ONE_IN: u64 = 1_000;
/// When an entry is looked at after a write, counted from the write.
const LOOKS: [Duration; 3] = [
    Duration::from_millis(500),
    Duration::from_secs(2),
    Duration::from_secs(5),
];

impl<V, E> Inner<V, E> {
    /// Whether this hit is one to compare.
    pub(crate) fn is_sample(&self, hits: u64) -> bool {
        hits % ONE_IN == ONE_IN - 1 && self.same().is_some()
    }

    fn same(&self) -> Option<fn(&V, &V) -> bool> {
        self.spec.local.as_ref()?.same
    }
}

/// Compares what memory has with what is loaded now. What is still served as current when the
/// load has ended, and is something else, is out of date.
pub(crate) async fn run<V, E>(class: Arc<Inner<V, E>>, name: String, load: Loader<V, E>)
where
    V: Clone + Send + Sync + 'static,
{
    let Some((value, entry)) = class.recall(&name) else {
        return;
    };
    let Ok(loaded) = load().await else {
        return;
    };
    class.counters.samples.one();
    let same = class.same().is_none_or(|same| same(&value, &loaded));
    if !same && class.is_current(&name, &entry) {
        class.counters.samples_stale.one();
        tracing::warn!(
            key = class.key(&name),
            "an answer from memory was out of date"
        );
    }
}

impl<V, E> Namespace<V, E>
where
    V: Clone + Send + Sync + 'static,
    E: Clone + Send + Sync + 'static,
{
    /// After a [`write`](Self::write), for as long as other programs fill keys without a lease:
    /// looks at the entry 0.5, 2 and 5 s later and invalidates it if it is not what `load` gives.
    /// Returns at once.
    pub fn verify_after_write<F, Fut>(&self, name: &str, load: F)
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<V, E>> + Send + 'static,
    {
        let (class, name) = (self.clone(), name.to_owned());
        tokio::spawn(async move {
            let written = Instant::now();
            for look in LOOKS {
                sleep((written + look).saturating_duration_since(Instant::now())).await;
                class.recheck(&name, &load).await;
            }
        });
    }

    async fn recheck<F, Fut>(&self, name: &str, load: &F)
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<V, E>> + Send + 'static,
    {
        let class = &self.0;
        let key = class.key(name);
        let held = async || {
            let session = class.shared.session()?;
            match session.get(&key, class.shared.settings.read_timeout).await {
                Ok(Stored::Payload(payload)) => Some(payload),
                _ => None,
            }
        };
        let Some(before) = held().await else {
            return;
        };
        let (Some(value), Ok(loaded)) = ((class.spec.decode)(&before), load().await) else {
            return;
        };
        let same = class.same().is_none_or(|same| same(&value, &loaded));
        // What is there no longer may have been replaced by a write since.
        if !same && held().await.as_ref() == Some(&before) {
            class.counters.stale_after_write.one();
            tracing::warn!(key, "an older value was stored after a write; invalidating");
            self.invalidate(name).await;
        }
    }
}
