//! A database of one row, and loaders over it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::BoxFuture;
use tokio::sync::{Mutex, oneshot};

use crate::support::WriteFence;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DbError {
    /// There is no such row.
    NoRow,
    /// The database is unavailable.
    Unavailable,
}

/// A database of one row: its version and its lock.
#[derive(Clone, Default)]
pub(crate) struct Database(Arc<Row>);

#[derive(Default)]
struct Row {
    lock: Mutex<()>,
    version: AtomicU64,
    loads: AtomicU64,
}

impl Database {
    pub(crate) fn version(&self) -> u64 {
        self.0.version.load(Ordering::SeqCst)
    }

    pub(crate) fn loads(&self) -> u64 {
        self.0.loads.load(Ordering::SeqCst)
    }

    /// Runs SELECT.
    pub(crate) fn select(&self) -> u64 {
        self.0.loads.fetch_add(1, Ordering::SeqCst);
        self.version()
    }

    /// Commits a new version.
    pub(crate) fn commit(&self) -> u64 {
        self.0.version.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(crate) fn loader(
        &self,
    ) -> impl FnOnce() -> BoxFuture<'static, Result<u64, DbError>> + Send + use<> {
        let database = self.clone();
        move || Box::pin(async move { Ok(database.select()) })
    }

    /// Runs BEGIN, UPDATE, the write fence and COMMIT.
    pub(crate) async fn update(&self, fence: WriteFence) -> Result<u64, DbError> {
        let lock = self.0.lock.lock().await;
        tokio::task::yield_now().await;
        fence.raise().await;
        tokio::task::yield_now().await;
        let version = self.commit();
        drop(lock);
        Ok(version)
    }
}

/// The control of a loader that blocks until the gate is opened.
pub(crate) struct Gate {
    entered: Option<oneshot::Receiver<()>>,
    open: oneshot::Sender<()>,
}

impl Gate {
    /// Returns the gate, and a loader that runs `act` and then blocks at it.
    pub(crate) fn after<T: Send + 'static>(
        act: impl FnOnce() -> T + Send + 'static,
    ) -> (Self, impl FnOnce() -> BoxFuture<'static, T> + Send) {
        let (signal, entered) = oneshot::channel();
        let (open, opened) = oneshot::channel();
        let loader = move || -> BoxFuture<'static, T> {
            Box::pin(async move {
                let result = act();
                signal.send(()).unwrap();
                opened.await.unwrap();
                result
            })
        };
        (
            Self {
                entered: Some(entered),
                open,
            },
            loader,
        )
    }

    pub(crate) async fn entered(&mut self) {
        assert!(self.is_entered().await, "the loader was dropped");
    }

    /// Waits until the loader is called, or dropped.
    pub(crate) async fn is_entered(&mut self) -> bool {
        let entered = self.entered.take().unwrap();
        limited::waiting("a call of the loader", entered)
            .await
            .is_ok()
    }

    pub(crate) fn open(self) {
        self.open.send(()).unwrap();
    }
}

/// A loader that must not be called.
pub(crate) fn no_load() -> BoxFuture<'static, Result<u64, DbError>> {
    panic!("the loader was called");
}
