//! A writer that can die at any step.

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use tiercache::{CommitWith, Key};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use crate::support::Database;

/// A process of its own, as far as others can see: it has a runtime, in which its caches have to be
/// created. Dead, its tasks have ended where they were, and its sockets are closed.
pub(crate) struct Writer {
    runtime: Option<Runtime>,
    commit: Option<oneshot::Sender<()>>,
    committed: Option<oneshot::Receiver<()>>,
}

impl Writer {
    /// Starts a process, and creates what it has.
    pub(crate) async fn start<T: Send + 'static>(
        state: impl Future<Output = T> + Send + 'static,
    ) -> (Self, T) {
        let mut runtime = Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
        let state = runtime.spawn(state).await.unwrap();
        let writer = Self {
            runtime: Some(runtime),
            commit: None,
            committed: None,
        };
        (writer, state)
    }

    /// Begins a write of a key. Returns when its fence is raised, before COMMIT.
    pub(crate) async fn fence(&mut self, cache: tiercache::Cache, key: Key, database: &Database) {
        let (raised, is_raised) = oneshot::channel();
        let (commit, may_commit) = oneshot::channel();
        let (committed, is_committed) = oneshot::channel();
        let database = database.clone();
        let commits = async move || {
            raised.send(()).unwrap();
            may_commit.await.unwrap();
            database.commit();
            committed.send(()).unwrap();
            // The reply never arrives.
            pending::<Result<(), Infallible>>().await
        };
        let write = async move {
            let write = cache.write(async move |write| {
                let fenced = write.fence(CommitWith(commits), [key]).await;
                fenced.commit().await
            });
            write.await
        };
        self.runtime.as_ref().unwrap().spawn(write);
        limited::waiting("the fence", is_raised).await.unwrap();
        (self.commit, self.committed) = (Some(commit), Some(is_committed));
    }

    /// COMMIT is executed.
    pub(crate) async fn commit(&mut self) {
        self.commit.take().unwrap().send(()).unwrap();
        let committed = self.committed.take().unwrap();
        limited::waiting("COMMIT", committed).await.unwrap();
    }

    /// Returns when it is dead.
    pub(crate) async fn die(mut self) {
        let runtime = self.runtime.take().unwrap();
        let end = move || runtime.shutdown_timeout(Duration::from_secs(10));
        let end = tokio::task::spawn_blocking(end);
        limited::waiting("the end of the writer", end)
            .await
            .unwrap();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
