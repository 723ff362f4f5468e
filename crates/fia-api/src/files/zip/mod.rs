//! Many files as one archive, generated while it is sent.

mod archive;
mod member;
mod plan;

use std::num::NonZero;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::sync::Semaphore;

use crate::files::workers::Workers;
use crate::files::{FileError, Files};

pub use plan::{Plan, Request};

use archive::Archive;

/// Maximum number of concurrent archives: each holds a compressor and some chunks in memory.
const MAX_ARCHIVES: usize = 32;
/// Maximum wait of an archive for a permit to compress.
const PERMIT_TIMEOUT: Duration = Duration::from_secs(30);

/// Limits shared by all archives.
pub(super) struct Archivers {
    /// Bounded by the number of processors, as compression is CPU-bound.
    workers: Workers,
    permits: Arc<Semaphore>,
}

/// Creates the limits for the processors of this machine.
pub(super) fn archivers() -> Archivers {
    let processors = available_parallelism().map_or(1, NonZero::get);
    Archivers {
        workers: Workers::new(2 * processors, PERMIT_TIMEOUT),
        permits: Arc::new(Semaphore::new(MAX_ARCHIVES)),
    }
}

impl Files {
    /// Streams the archive of a plan, with backpressure; dropping the stream ends the reading.
    ///
    /// Files that were removed since they were planned are named in a member `MISSING.txt`. The
    /// stream fails if a file is truncated while it is read.
    ///
    /// # Errors
    /// [`FileError::Busy`] if there are too many concurrent archives.
    pub fn zip(
        &self,
        plan: Plan,
    ) -> Result<impl Stream<Item = Result<Bytes, FileError>> + Send + use<>, FileError> {
        let archivers = &self.0.archivers;
        let permit = Arc::clone(&archivers.permits)
            .try_acquire_owned()
            .map_err(|_| FileError::Busy)?;
        let workers = archivers.workers.clone();
        let archive = Box::new(Archive::new(self.reduced(), plan));
        let begun = (archive, workers, permit);
        Ok(stream::try_unfold(
            begun,
            |(mut archive, workers, permit)| async move {
                loop {
                    let step = move || {
                        let made = archive.step();
                        (archive, made)
                    };
                    let made;
                    (archive, made) = workers.run(step).await.inspect_err(log_abort)?;
                    match made.inspect_err(log_abort)? {
                        // The input read so far gave no output yet.
                        Some(bytes) if bytes.is_empty() => {}
                        made => return Ok(made.map(|bytes| (bytes, (archive, workers, permit)))),
                    }
                }
            },
        ))
    }
}

fn log_abort(error: &FileError) {
    tracing::warn!(%error, "archive aborted");
}
