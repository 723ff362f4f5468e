//! Writes: the fence inside the transaction, the invalidation after it.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use futures_util::FutureExt;
use futures_util::future::join_all;

use crate::Shared;
use crate::class::Namespace;
use crate::epochs::KeyHash;
use crate::marker;
use crate::outcome::Failure;
use crate::stats::Counters;

/// Handed to a transaction, to be raised when it holds the row's lock.
///
/// From then until the write's end no replica fills the key, so none can fill it with what it
/// read before the commit. Raised *before* the lock is held, the fence could be taken away by
/// the end of another write, too early for this one.
pub struct WriteFence {
    key: Arc<str>,
    shared: Arc<Shared>,
    marker: marker::FenceToken,
    state: Arc<State>,
}

/// What became of a fence.
struct State(AtomicU8);

const LOWERED: u8 = 0;
const SENT: u8 = 1;
const ACKNOWLEDGED: u8 = 2;

impl WriteFence {
    /// Raises the fence. **Call it after the statement that takes the row's lock and before
    /// COMMIT**; do not call it if nothing is going to change.
    ///
    /// Never fails and takes no longer than [`Settings::write_timeout`](crate::Settings): if the
    /// shared level is away, the write goes on, and its invalidation will be owed. Consumes the
    /// fence, because it must not be sent twice: the repetition could replace the fence of a
    /// later writer.
    pub async fn raise(self) {
        self.state.0.store(SENT, Ordering::Release);
        let Some(session) = self.shared.session() else {
            return;
        };
        match session
            .raise(&self.key, &self.marker, self.shared.settings.write_timeout)
            .await
        {
            Ok(()) => self.state.0.store(ACKNOWLEDGED, Ordering::Release),
            Err(trouble) => {
                tracing::warn!(key = %self.key, ?trouble, "a fence was not acknowledged");
            }
        }
    }
}

impl<V, E> Namespace<V, E>
where
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    /// Runs a transaction that changes the value of this name, and sees to it that nothing
    /// older is served once this call has returned. `also_clear` are further whole keys, outside
    /// the classes, that are to be invalidated with it.
    ///
    /// The transaction gets a [`WriteFence`] and must [raise](WriteFence::raise) it while it holds the
    /// row's lock. If it did, the key is invalidated afterwards, however the transaction ended:
    /// the outcome of a failed COMMIT is not known. If it did not, nothing is invalidated.
    ///
    /// If the shared level is away the write succeeds all the same: this replica goes past the
    /// shared level for these keys until the invalidation has been made up for.
    ///
    /// All of it runs in a task of its own: dropping the future interrupts nothing.
    ///
    /// # Errors
    /// [`Failure::Failed`] with the transaction's error, [`Failure::Panicked`] if it panicked.
    pub async fn write<T, W, F, Fut>(
        &self,
        name: &str,
        also_clear: Vec<String>,
        transaction: F,
    ) -> Result<T, Failure<W>>
    where
        F: FnOnce(WriteFence) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, W>> + Send + 'static,
        T: Send + 'static,
        W: Send + 'static,
    {
        let ending = self.ending(name, also_clear);
        let (class, name) = (self.clone(), name.to_owned());
        let write = tokio::spawn(async move {
            let fence = ending.fence();
            let result = AssertUnwindSafe(async move { transaction(fence).await })
                .catch_unwind()
                .await;
            if ending.run().await {
                class.0.forget(&name);
            }
            result
        });
        match write.await {
            Ok(Ok(result)) => result.map_err(Failure::Failed),
            Ok(Err(_)) | Err(_) => Err(Failure::Panicked),
        }
    }

    /// Sees to it that nothing older than now is served once this call has returned: for a
    /// change that was made by others, who cannot say so themselves.
    pub async fn invalidate(&self, name: &str) {
        let ending = self.ending(name, Vec::new());
        let (class, name) = (self.clone(), name.to_owned());
        let work = tokio::spawn(async move {
            ending.invalidate(None).await;
            class.0.forget(&name);
        });
        // It fails only with the runtime.
        let _ = work.await;
    }

    fn ending(&self, name: &str, also_clear: Vec<String>) -> Ending {
        Ending {
            key: self.key(name).into(),
            also_clear,
            shared: Arc::clone(&self.0.shared),
            counters: Arc::clone(&self.0.counters),
            marker: marker::FenceToken::new(),
            state: Arc::new(State(AtomicU8::new(LOWERED))),
        }
    }
}

/// What has to be done after a transaction, however it ended.
struct Ending {
    key: Arc<str>,
    also_clear: Vec<String>,
    shared: Arc<Shared>,
    counters: Arc<Counters>,
    marker: marker::FenceToken,
    state: Arc<State>,
}

impl Ending {
    fn fence(&self) -> WriteFence {
        WriteFence {
            key: Arc::clone(&self.key),
            shared: Arc::clone(&self.shared),
            marker: self.marker.clone(),
            state: Arc::clone(&self.state),
        }
    }

    /// Says whether there was anything to do.
    async fn run(&self) -> bool {
        let own = match self.state.0.load(Ordering::Acquire) {
            LOWERED => return false,
            ACKNOWLEDGED => Some(&self.marker),
            _ => None,
        };
        self.counters.writes.one();
        if own.is_none() && self.shared.has_shared_level() {
            self.counters.fences_unconfirmed.one();
        }
        self.invalidate(own).await;
        true
    }

    async fn invalidate(&self, own: Option<&marker::FenceToken>) {
        let keys = || std::iter::once(&*self.key).chain(self.also_clear.iter().map(String::as_str));
        for key in keys() {
            self.shared.epochs.bump(KeyHash::of(key));
        }
        if self.shared.has_shared_level() {
            join_all(keys().map(|key| self.fin(key, own.filter(|_| *key == *self.key)))).await;
        }
        // After FIN, or after the note that it is owed: what was asked for before may be older.
        for key in keys() {
            self.shared.epochs.bump(KeyHash::of(key));
            self.shared.coherence.changed(KeyHash::of(key));
        }
    }

    async fn fin(&self, key: &str, own: Option<&marker::FenceToken>) {
        if let Some(session) = self.shared.session() {
            match session
                .fin(key, own, self.shared.settings.write_timeout)
                .await
            {
                Ok(_) => return,
                Err(trouble) => tracing::warn!(key, ?trouble, "an invalidation is owed"),
            }
        }
        self.counters.invalidations_queued.one();
        self.shared
            .debts
            .owe_fin(key, own.cloned(), self.shared.longest_life());
    }
}
