//! Blocking work on files, so many at a time: a file system that hangs takes these threads and
//! no others.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::files::FileError;

/// How long a piece of work is waited for. Beyond it the work goes on, and keeps its turn, but
/// nobody waits for it.
const ANSWER: Duration = Duration::from_secs(10);

/// Turns for blocking work of one kind.
#[derive(Debug, Clone)]
pub(super) struct Workers {
    turns: Arc<Semaphore>,
    patience: Duration,
}

impl Workers {
    /// So many pieces of work at once; a further one waits so long for its turn.
    pub(super) fn new(at_once: usize, patience: Duration) -> Self {
        Self {
            turns: Arc::new(Semaphore::new(at_once)),
            patience,
        }
    }

    /// Does a piece of work away from the threads that serve connections.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, FileError> {
        let turn = timeout(self.patience, Arc::clone(&self.turns).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            return Err(FileError::Busy);
        };
        let work = spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        });
        match timeout(ANSWER, work).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(_)) => Err(FileError::Failed("the work on a file panicked".into())),
            Err(_) => Err(FileError::Failed("it does not answer".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn work_beyond_the_limit_waits_for_its_turn_and_not_for_ever() {
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
