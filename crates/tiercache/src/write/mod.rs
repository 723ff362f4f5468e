//! Writes: the fences inside the transaction, the invalidations after it.

pub(crate) mod bypass;
mod guard;
mod invalidate_all;
pub(crate) mod key;
pub(crate) mod pending;
mod put;
pub(crate) mod recent;
mod refused;
mod transaction;

use std::fmt::Display;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::join_all;

pub use guard::{Committed, Fenced, Write};
pub use key::Key;
pub use transaction::{CommitWith, Transaction};

use crate::cache::Cache;
use crate::connection::Connection;
use crate::event::Event;
use crate::local::versions::KeyHash;
use crate::namespace::{Inner, Namespace, with_name};
use crate::protocol::marker::FenceToken;
use crate::read::outcome::Failure;
use crate::seams;
use crate::seams::mutant;
use crate::shared::Shared;
use crate::stats::Counters;
use crate::sync::lock;
use crate::write::guard::{Fence, Progress};

impl Cache {
    /// Runs a transaction that changes cached values. Once it returns, no older value of the
    /// fenced keys is served.
    ///
    /// The closure begins a transaction, executes its statements, [raises the
    /// fences](Write::fence) and [commits](Fenced::commit) through the guard; success is only
    /// possible so. The keys are invalidated afterwards, however the transaction ended, since the
    /// outcome of a failed COMMIT is unknown. If no fence was raised, nothing is invalidated.
    ///
    /// If the shared level is unavailable, the write still succeeds. The invalidations are
    /// queued, and this replica bypasses the shared level for the keys until they have been
    /// retried.
    ///
    /// The work runs in a task of its own: dropping the future interrupts nothing.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::io;
    /// use tiercache::{Cache, CommitWith, Json};
    ///
    /// let cache = Cache::local_builder().connect()?;
    /// let users = cache.namespace::<u64, String, io::Error>("app:user:", Json).build()?;
    /// let orgs = cache.namespace::<u64, String, io::Error>("app:org:", Json).build()?;
    ///
    /// let changed = [users.key(&7), orgs.key(&1)];
    /// let rows = cache
    ///     .write(async move |write| {
    ///         // BEGIN; UPDATE …: the rows are locked.
    ///         let transaction = CommitWith(async || Ok::<(), io::Error>(()));
    ///         let fenced = write.fence(transaction, changed).await;
    ///         Ok::<_, io::Error>(fenced.commit().await?.with(2))
    ///     })
    ///     .await?;
    /// assert_eq!(rows, 2);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Failure::Failed`] with the closure's error; [`Failure::Panicked`] if it panicked.
    pub async fn write<T, W, F, Fut>(&self, transaction: F) -> Result<T, Failure<W>>
    where
        F: FnOnce(Write) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Committed<T>, W>> + Send + 'static,
        T: Send + 'static,
        W: Send + 'static,
    {
        let progress = Arc::new(Progress::new(Arc::clone(&self.0)));
        let write = self.0.spawn(async move {
            let guard = Write {
                progress: Arc::clone(&progress),
            };
            let result = AssertUnwindSafe(async move { transaction(guard).await })
                .catch_unwind()
                .await;
            progress.end().await;
            result
        });
        match write.await {
            Ok(Ok(result)) => result.map(Committed::into_result).map_err(Failure::Failed),
            Ok(Err(_)) | Err(_) => Err(Failure::Panicked),
        }
    }
}

impl<K, V, E> Namespace<K, V, E>
where
    K: Display + ?Sized,
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    /// Invalidates the value of this key, after a change that was made elsewhere. Once it
    /// returns, no value from before the call is served.
    pub async fn invalidate(&self, key: &K) {
        let (namespace, name) = (Arc::clone(&self.0), with_name(key, str::to_owned));
        let work = seams::spawn(async move { namespace.invalidate(&name).await });
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
        let key = self.key(name);
        let target = Target::unfenced(&key, &self.counters);
        self.shared.invalidate(&[target]).await;
        self.remove_local(name);
    }
}

/// A key to invalidate.
struct Target<'a> {
    key: &'a str,
    /// The fence of this write on it, if it was confirmed.
    own: Option<&'a FenceToken>,
    /// The value to store instead of a tombstone, under one's own fence.
    value: Option<&'a (Bytes, Duration)>,
    counters: &'a Counters,
}

impl<'a> Target<'a> {
    fn unfenced(key: &'a str, counters: &'a Counters) -> Self {
        Self {
            key,
            own: None,
            value: None,
            counters,
        }
    }
}

impl Progress {
    /// Invalidates the keys if fences were raised.
    async fn end(&self) {
        let fences = std::mem::take(&mut *lock(&self.fences));
        let also = std::mem::take(&mut *lock(&self.also));
        if fences.is_empty() {
            return;
        }
        let mut targets: Vec<Target<'_>> = fences.iter().map(|fence| self.target(fence)).collect();
        let also = also.iter();
        targets.extend(
            also.clone()
                .map(|key| Target::unfenced(key.as_str(), &key.counters)),
        );
        self.shared.invalidate(&targets).await;
        if let Some(store) = &self.shared.local {
            for key in fences.iter().map(|fence| &fence.key).chain(also) {
                store.remove(key.local.borrowed());
            }
        }
    }

    fn target<'a>(&self, fence: &'a Fence) -> Target<'a> {
        let is_committed = self.is_committed.load(Ordering::Acquire);
        let counters = &fence.key.counters;
        counters.writes.one();
        if !fence.is_confirmed && self.shared.has_shared_level() {
            counters.fences_unconfirmed.one();
        }
        mutant!(UnconfirmedFenceOwned => return Target { key: fence.key.as_str(), own: Some(&fence.token), value: None, counters });
        mutant!(PutAfterRollback => return Target { key: fence.key.as_str(), own: fence.is_confirmed.then_some(&fence.token), value: fence.key.value.as_ref(), counters });
        Target {
            key: fence.key.as_str(),
            own: fence.is_confirmed.then_some(&fence.token),
            value: fence.key.value.as_ref().filter(|_| is_committed),
            counters,
        }
    }
}

impl Shared {
    async fn invalidate(&self, targets: &[Target<'_>]) {
        mutant!(MemoryInvalidatedFirst => {
            for Target { key, .. } in targets {
                self.write_versions.bump(KeyHash::of(key));
                self.coherence.key_changed(KeyHash::of(key));
            }
            join_all(targets.iter().map(|target| self.invalidate_shared(target))).await;
            return
        });
        for Target { key, .. } in targets {
            self.write_versions.bump(KeyHash::of(key));
        }
        if self.has_shared_level() {
            join_all(targets.iter().map(|target| self.invalidate_shared(target))).await;
        }
        // After INVALIDATE or its enqueueing: reads that began before may be stale.
        mutant!(MemoryNotInvalidated => return);
        for Target { key, .. } in targets {
            self.write_versions.bump(KeyHash::of(key));
            self.coherence.key_changed(KeyHash::of(key));
        }
    }

    /// Ends a write of a key in the shared level.
    async fn invalidate_shared(&self, target: &Target<'_>) {
        let Target { key, own, .. } = *target;
        if let Some(connection) = self.connection(key) {
            if self.put(&connection, target).await {
                return self.pending.confirmed(key, self.longest_lifetime());
            }
            let limit = self.settings.write_timeout;
            let _command = self.command("INVALIDATE");
            match connection.invalidate(key, own, limit).await {
                Ok(_) => return self.pending.confirmed(key, self.longest_lifetime()),
                Err(error) => {
                    tracing::warn!(key, ?error, "invalidation not confirmed: queued for retry");
                }
            }
        }
        mutant!(FailedInvalidationDropped => return);
        target.counters.invalidations_queued.one();
        let event = Event::InvalidationQueued { key };
        self.settings.events.emit(event);
        let lifetime = self.longest_lifetime();
        self.pending.enqueue(key, own.cloned(), lifetime);
    }

    /// Stores the value of a write, if it has one. Returns whether it was stored. A command that
    /// times out may be executed later; INVALIDATE, which follows, removes the fence that it
    /// needs.
    async fn put(&self, connection: &Connection, target: &Target<'_>) -> bool {
        let (Some(own), Some((payload, ttl))) = (target.own, target.value) else {
            return false;
        };
        let limit = self.settings.write_timeout;
        let _command = self.command("FILL");
        let filled = connection.fill(target.key, own, payload, *ttl, limit).await;
        let is_stored = matches!(filled, Ok(true));
        if is_stored {
            target.counters.puts.one();
        }
        is_stored
    }
}
