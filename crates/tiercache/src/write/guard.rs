//! The guard of a write: it raises the fences, then commits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::{join, join_all};

use crate::connection::{CommandError, Connection};
use crate::event::Event;
use crate::protocol::marker::FenceToken;
use crate::seams::{Instant, mutant};
use crate::shared::Shared;
use crate::sync::{Mutex, lock};
use crate::write::key::Key;
use crate::write::transaction::Transaction;

/// The begin of a write, which [`Cache::write`](crate::Cache::write) passes to its closure.
#[must_use = "a write without a fence invalidates nothing"]
pub struct Write {
    pub(super) progress: Arc<Progress>,
}

/// A transaction whose fences are raised. Dropped, it is rolled back, and its keys are
/// invalidated all the same.
#[must_use = "dropped, the transaction is rolled back"]
pub struct Fenced<Tx> {
    transaction: Tx,
    progress: Arc<Progress>,
}

/// The proof that a write was committed through its guard, with the write's result.
#[derive(Debug)]
#[must_use = "return it from the closure of the write"]
pub struct Committed<T>(T);

/// The fences of a write, shared with its end.
pub(super) struct Progress {
    pub(super) shared: Arc<Shared>,
    pub(super) fences: Mutex<Vec<Fence>>,
    /// Further keys to invalidate.
    pub(super) also: Mutex<Vec<Key>>,
    /// Whether COMMIT succeeded.
    pub(super) is_committed: AtomicBool,
}

/// A fence that was sent.
#[derive(Clone)]
pub(super) struct Fence {
    pub(super) key: Key,
    pub(super) token: FenceToken,
    pub(super) is_confirmed: bool,
}

impl Progress {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            fences: Mutex::default(),
            also: Mutex::default(),
            is_committed: AtomicBool::new(false),
        }
    }

    /// Raises the fences in one round trip. Never retried: a retry could replace the fence of a
    /// later writer.
    async fn raise(&self, keys: impl IntoIterator<Item = Key>) {
        let new = |key| Fence {
            key,
            token: FenceToken::new(),
            is_confirmed: false,
        };
        let mut fences: Vec<Fence> = keys.into_iter().map(new).collect();
        // Recorded before they are sent: from now on the keys are invalidated at the end.
        lock(&self.fences).clone_from(&fences);
        let confirmed = {
            let _command = self.shared.command("FENCE");
            self.send(&fences).await
        };
        let events = &self.shared.settings.events;
        for (fence, result) in fences.iter_mut().zip(confirmed) {
            fence.is_confirmed = result.is_ok();
            match result {
                // It is known that there is no connection.
                Ok(()) | Err(CommandError::CircuitOpen) => {}
                Err(error) => {
                    let key = fence.key.as_str();
                    events.emit(Event::FenceUnconfirmed { key });
                    tracing::warn!(key, ?error, "write fence not confirmed");
                }
            }
        }
        *lock(&self.fences) = fences;
    }

    /// Sends the fences, those of each server in one pipeline.
    async fn send(&self, fences: &[Fence]) -> Vec<Result<(), CommandError>> {
        let mut batches: Vec<(Arc<Connection>, Vec<usize>)> = Vec::new();
        for (i, fence) in fences.iter().enumerate() {
            let Some(connection) = self.shared.connection(fence.key.as_str()) else {
                continue;
            };
            match batches
                .iter_mut()
                .find(|(other, _)| Arc::ptr_eq(other, &connection))
            {
                Some((_, batch)) => batch.push(i),
                None => batches.push((connection, vec![i])),
            }
        }
        let sending = batches.into_iter().map(|(connection, batch)| async move {
            let confirmed = self.send_to(&connection, fences, &batch).await;
            batch.into_iter().zip(confirmed)
        });
        let absent = |_| Err(CommandError::CircuitOpen);
        let mut results: Vec<_> = (0..fences.len()).map(absent).collect();
        for (i, confirmed) in join_all(sending).await.into_iter().flatten() {
            results[i] = confirmed;
        }
        results
    }

    /// Sends some of the fences to their server, and waits for its replicas if so configured.
    async fn send_to(
        &self,
        connection: &Arc<Connection>,
        fences: &[Fence],
        batch: &[usize],
    ) -> Vec<Result<(), CommandError>> {
        let settings = &self.shared.settings;
        let markers = batch
            .iter()
            .map(|i| (fences[*i].key.as_str(), &fences[*i].token));
        let begun = Instant::now();
        let replicating = match batch.first() {
            Some(first) => {
                let limit = settings.write_timeout / 2;
                connection
                    .replicating(fences[*first].key.as_str(), limit)
                    .await
            }
            None => Ok(None),
        };
        let limit = settings.write_timeout.saturating_sub(begun.elapsed());
        let (confirmed, is_replicated) = match replicating {
            Ok(Some((replicating, replicas))) => {
                mutant!(ReplicasNotAwaited => return replicating.raise(markers, settings.fence, limit).await);
                let raising = replicating.raise(markers, settings.fence, limit);
                let waiting = replicating.wait(replicas, limit);
                let (confirmed, waited) = join(raising, waiting).await;
                (confirmed, matches!(waited, Ok(true)))
            }
            Ok(None) => (connection.raise(markers, settings.fence, limit).await, true),
            Err(_) => (
                connection.raise(markers, settings.fence, limit).await,
                false,
            ),
        };
        if !is_replicated {
            for i in batch {
                fences[*i].key.counters.fences_unreplicated.one();
            }
        }
        confirmed
    }
}

impl Write {
    /// Raises fences on the keys that the transaction has changed. From then until the end of the
    /// write no replica fills them, so none can fill them with a value that it read before the
    /// commit.
    ///
    /// **The transaction must hold the locks of its rows**, that is, its statements have been
    /// executed: it is moved into the guard, so no statement can follow. Raised before the locks
    /// are held, a fence could be removed by the end of another write, before this one commits.
    ///
    /// Never fails, and takes no longer than the cache's
    /// [`write_timeout`](crate::CacheBuilder::write_timeout). If the shared level is unavailable,
    /// the write continues, and its invalidations are queued.
    pub async fn fence<Tx: Transaction>(
        self,
        transaction: Tx,
        keys: impl IntoIterator<Item = Key>,
    ) -> Fenced<Tx> {
        self.progress.raise(keys).await;
        mutant!(FenceTooShort => crate::seams::sleep(self.progress.shared.settings.fence).await);
        Fenced {
            transaction,
            progress: self.progress,
        }
    }
}

impl<Tx: Transaction> Fenced<Tx> {
    /// Adds keys that are invalidated with the others, but not fenced: for values that the
    /// transaction makes obsolete but that are not loaded from what it changes.
    pub fn also_invalidate(self, keys: impl IntoIterator<Item = Key>) -> Self {
        lock(&self.progress.also).extend(keys);
        self
    }

    /// Commits the transaction. Only this yields what the closure of a write must return.
    ///
    /// # Errors
    /// The error of COMMIT. Its outcome is unknown, so the keys are invalidated all the same.
    pub async fn commit(self) -> Result<Committed<()>, Tx::Error> {
        self.transaction.commit().await?;
        self.progress.is_committed.store(true, Ordering::Release);
        Ok(Committed(()))
    }
}

impl<T> Committed<T> {
    /// The proof with a result for the caller of the write.
    pub fn with<U>(self, result: U) -> Committed<U> {
        Committed(result)
    }

    pub(super) fn into_result(self) -> T {
        self.0
    }
}
