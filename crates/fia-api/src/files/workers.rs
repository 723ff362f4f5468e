//! Bounded blocking work on files: a file system that hangs occupies only these threads.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::files::FileError;

/// Timeout for a piece of work. Work that exceeds it goes on and keeps its permit, but its result
/// is dropped.
const WORK_TIMEOUT: Duration = Duration::from_secs(10);

/// Permits for blocking work of one kind.
#[derive(Debug, Clone)]
pub(super) struct Workers {
    permits: Arc<Semaphore>,
    permit_timeout: Duration,
}

impl Workers {
    /// Allows `max` concurrent pieces of work; others wait up to `permit_timeout` for a permit.
    pub(super) fn new(max: usize, permit_timeout: Duration) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(max)),
            permit_timeout,
        }
    }

    /// Runs a piece of work on the blocking thread pool.
    ///
    /// # Errors
    /// [`FileError::Busy`] without a permit in time; [`FileError::Failed`] on a panic or a timeout.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, FileError> {
        let permit = timeout(
            self.permit_timeout,
            Arc::clone(&self.permits).acquire_owned(),
        )
        .await;
        let Ok(Ok(permit)) = permit else {
            return Err(FileError::Busy);
        };
        let work = spawn_blocking(move || {
            let done = work();
            drop(permit);
            done
        });
        match timeout(WORK_TIMEOUT, work).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(_)) => Err(FileError::Failed("file operation panicked".into())),
            Err(_) => Err(FileError::Failed("file operation timed out".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn work_without_a_permit_in_time_is_refused() {
        let workers = Workers::new(1, Duration::from_millis(10));
        let (release, hold) = mpsc::channel::<()>();
        let (started, start) = tokio::sync::oneshot::channel();
        let other = workers.clone();
        let first = tokio::spawn(async move {
            other
                .run(move || {
                    started.send(()).unwrap();
                    hold.recv().is_ok()
                })
                .await
        });
        start.await.unwrap();
        let refused = workers.run(|| ()).await;
        assert!(matches!(refused, Err(FileError::Busy)));
        release.send(()).unwrap();
        assert!(first.await.unwrap().unwrap());
        assert!(workers.run(|| true).await.unwrap());
    }
}
