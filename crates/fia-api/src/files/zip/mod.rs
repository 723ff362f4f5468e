//! Many files as one archive, made while it is sent.

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

/// Archives under way at once: each keeps a compressor and some chunks in memory.
const ARCHIVES: usize = 32;
/// How long an archive waits for its turn to compress, behind the others.
const PATIENCE: Duration = Duration::from_secs(30);

/// What archives share.
pub(super) struct Archivers {
    /// Compressing wants processors, of which there are only so many.
    workers: Workers,
    places: Arc<Semaphore>,
}

/// Room for archives, for the processors of this machine.
pub(super) fn archivers() -> Archivers {
    let processors = available_parallelism().map_or(1, NonZero::get);
    Archivers {
        workers: Workers::new(2 * processors, PATIENCE),
        places: Arc::new(Semaphore::new(ARCHIVES)),
    }
}

impl Files {
    /// Makes the archive of a plan, as fast as it is taken; when nobody takes it any more, the
    /// reading ends.
    ///
    /// The stream fails where a file has gone or become shorter since it was planned.
    ///
    /// # Errors
    /// [`FileError::Busy`] where too many archives are under way.
    pub fn zip(
        &self,
        plan: Plan,
    ) -> Result<impl Stream<Item = Result<Bytes, FileError>> + Send + use<>, FileError> {
        let archivers = &self.0.archivers;
        let place = Arc::clone(&archivers.places)
            .try_acquire_owned()
            .map_err(|_| FileError::Busy)?;
        let workers = archivers.workers.clone();
        let archive = Box::new(Archive::new(self.reduced(), plan));
        let begun = (archive, workers, place);
        Ok(stream::try_unfold(
            begun,
            |(mut archive, workers, place)| async move {
                loop {
                    let step = move || {
                        let made = archive.step();
                        (archive, made)
                    };
                    let made;
                    (archive, made) = workers.run(step).await.inspect_err(cut)?;
                    match made.inspect_err(cut)? {
                        // Much was read that came to nothing yet.
                        Some(bytes) if bytes.is_empty() => {}
                        made => return Ok(made.map(|bytes| (bytes, (archive, workers, place)))),
                    }
                }
            },
        ))
    }
}

fn cut(error: &FileError) {
    tracing::warn!(%error, "an archive was cut short");
}
