//! Writes: the fence inside the transaction, the invalidation after it.

mod fence;
pub(crate) mod pending;

use std::fmt::Display;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::join_all;

pub use fence::WriteFence;

use crate::cache::Shared;
use crate::event::Event;
use crate::local::versions::KeyHash;
use crate::namespace::{Inner, Namespace, with_name};
use crate::protocol::marker::FenceToken;
use crate::read::outcome::Failure;
use crate::stats::Counters;
use crate::write::fence::FenceState;

impl<K, V, E> Namespace<K, V, E>
where
    K: Display + ?Sized,
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    /// Runs a transaction that changes the value of this name. Once it returns, no older value is
    /// served. `also_invalidate` are further whole keys, outside the namespaces.
    ///
    /// The transaction gets a [`WriteFence`] and must [raise](WriteFence::raise) it while it
    /// holds the row lock. If it did, the key is invalidated afterwards, however the transaction
    /// ended, since the outcome of a failed COMMIT is unknown. If it did not, nothing is
    /// invalidated.
    ///
    /// If the shared level is unavailable, the write still succeeds. The invalidation is queued,
    /// and this replica bypasses the shared level for the keys until it has been retried.
    ///
    /// The work runs in a task of its own: dropping the future interrupts nothing.
    ///
    /// # Errors
    /// [`Failure::Failed`] with the transaction's error; [`Failure::Panicked`] if it panicked.
    pub async fn write<T, W, F, Fut>(
        &self,
        key: &K,
        also_invalidate: Vec<String>,
        transaction: F,
    ) -> Result<T, Failure<W>>
    where
        F: FnOnce(WriteFence) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, W>> + Send + 'static,
        T: Send + 'static,
        W: Send + 'static,
    {
        let (namespace, name) = (Arc::clone(&self.0), with_name(key, str::to_owned));
        let completion = namespace.completion(&name, also_invalidate);
        let shared = Arc::clone(&self.0.shared);
        let write = shared.spawn(async move {
            let fence = completion.fence();
            let result = AssertUnwindSafe(async move { transaction(fence).await })
                .catch_unwind()
                .await;
            if completion.run().await {
                namespace.remove_local(&name);
            }
            result
        });
        match write.await {
            Ok(Ok(result)) => result.map_err(Failure::Failed),
            Ok(Err(_)) | Err(_) => Err(Failure::Panicked),
        }
    }

    /// Invalidates the value of this name, after a change that was made elsewhere. Once it
    /// returns, no value from before the call is served.
    pub async fn invalidate(&self, key: &K) {
        let (namespace, name) = (Arc::clone(&self.0), with_name(key, str::to_owned));
        let work = tokio::spawn(async move { namespace.invalidate(&name).await });
        // Fails only when the runtime shuts down.
        let _ = work.await;
    }
}

impl<V, E> Inner<V, E>
where
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    pub(crate) async fn invalidate(&self, name: &str) {
        self.completion(name, Vec::new()).invalidate(None).await;
        self.remove_local(name);
    }

    fn completion(&self, name: &str, also_invalidate: Vec<String>) -> Completion {
        Completion {
            key: self.key(name).into(),
            also_invalidate,
            shared: Arc::clone(&self.shared),
            counters: Arc::clone(&self.counters),
            token: FenceToken::new(),
            state: Arc::new(FenceState::new()),
        }
    }
}

/// The steps after a transaction, however it ended.
struct Completion {
    key: Arc<str>,
    also_invalidate: Vec<String>,
    shared: Arc<Shared>,
    counters: Arc<Counters>,
    token: FenceToken,
    state: Arc<FenceState>,
}

impl Completion {
    fn fence(&self) -> WriteFence {
        WriteFence {
            key: Arc::clone(&self.key),
            shared: Arc::clone(&self.shared),
            token: self.token.clone(),
            state: Arc::clone(&self.state),
        }
    }

    /// Invalidates the keys if the fence was raised. Returns whether it was.
    async fn run(&self) -> bool {
        if !self.state.is_sent() {
            return false;
        }
        let own = self.state.is_confirmed().then_some(&self.token);
        self.counters.writes.one();
        if own.is_none() && self.shared.has_shared_level() {
            self.counters.fences_unconfirmed.one();
        }
        self.invalidate(own).await;
        true
    }

    async fn invalidate(&self, own: Option<&FenceToken>) {
        let also = self.also_invalidate.iter().map(String::as_str);
        let keys = || std::iter::once(&*self.key).chain(also.clone());
        for key in keys() {
            self.shared.write_versions.bump(KeyHash::of(key));
        }
        if self.shared.has_shared_level() {
            let own_of = |key: &str| own.filter(|_| *key == *self.key);
            join_all(keys().map(|key| self.invalidate_shared(key, own_of(key)))).await;
        }
        // After INVALIDATE or its enqueueing: reads that began before may be stale.
        for key in keys() {
            self.shared.write_versions.bump(KeyHash::of(key));
            self.shared.coherence.key_changed(KeyHash::of(key));
        }
    }

    async fn invalidate_shared(&self, key: &str, own: Option<&FenceToken>) {
        if let Some(connection) = self.shared.connection() {
            let limit = self.shared.settings.write_timeout;
            let _command = self.shared.command("INVALIDATE");
            match connection.invalidate(key, own, limit).await {
                Ok(_) => return,
                Err(error) => {
                    tracing::warn!(key, ?error, "invalidation not confirmed: queued for retry");
                }
            }
        }
        self.counters.invalidations_queued.one();
        let events = &self.shared.settings.events;
        events.emit(Event::InvalidationQueued { key });
        let lifetime = self.shared.longest_lifetime();
        self.shared.pending.enqueue(key, own.cloned(), lifetime);
    }
}
