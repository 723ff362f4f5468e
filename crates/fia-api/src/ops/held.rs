//! Requests that are held while a dependency is unavailable.
//!
//! The job creator tries four times without a pause and then drops the run, but waits 30 s for
//! each response. A refusal at once would lose the run in any outage; held requests outlast one
//! of a minute and a half.

use std::time::Duration;

use tokio::sync::{Semaphore, TryAcquireError};
use tokio::time::{Instant, sleep, timeout_at};

use crate::admission::RequestPermit;
use crate::error::ApiError;
use crate::ops::Readiness;
use crate::store::{Reachability, StoreError};

/// How long after the first attempt another one may begin. With the time that one takes, shorter
/// than the caller's 30 s.
const HOLD: Duration = Duration::from_secs(25);
/// Requests that are held at the same time; their bodies stay in memory.
const MAX_HELD: usize = 64;
/// The pause between two attempts doubles from the minimum to the maximum.
const MIN_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// The failure of an attempt.
#[derive(Debug)]
pub enum AttemptError {
    /// Nothing was written: another attempt cannot repeat a change.
    NothingWritten(ApiError),
    /// The change may have been made.
    Unknown(ApiError),
}

impl From<ApiError> for AttemptError {
    fn from(error: ApiError) -> Self {
        Self::NothingWritten(error)
    }
}

/// Of any statement but a COMMIT.
impl From<StoreError> for AttemptError {
    fn from(error: StoreError) -> Self {
        Self::NothingWritten(error.into())
    }
}

impl From<AttemptError> for ApiError {
    fn from(error: AttemptError) -> Self {
        let (AttemptError::NothingWritten(error) | AttemptError::Unknown(error)) = error;
        error
    }
}

/// The requests that are held.
pub struct HeldRequests {
    places: Semaphore,
    reachability: Reachability,
    readiness: Readiness,
}

impl HeldRequests {
    /// Creates the limits of held requests.
    #[must_use]
    pub fn new(reachability: Reachability, readiness: Readiness) -> Self {
        Self {
            places: Semaphore::new(MAX_HELD),
            reachability,
            readiness,
        }
    }

    /// The requests that are held now.
    #[must_use]
    pub fn count(&self) -> usize {
        MAX_HELD - self.places.available_permits()
    }

    /// Repeats an attempt while a dependency is unavailable and nothing was written. The request
    /// gives up its permit while it waits.
    ///
    /// # Errors
    /// The error of the last attempt; [`ApiError::Unavailable`] after 25 s, while too many requests
    /// are held, or when the server shuts down, so that another replica gets the next attempt.
    pub async fn until_available<T, F>(
        &self,
        permit: &RequestPermit,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, ApiError>
    where
        F: Future<Output = Result<T, AttemptError>>,
    {
        let deadline = Instant::now() + HOLD;
        let mut place = None;
        let mut pause = MIN_PAUSE;
        loop {
            match attempt().await {
                Err(AttemptError::NothingWritten(ApiError::Unavailable)) => {}
                outcome => return Ok(outcome?),
            }
            if place.is_none() {
                let taken = self.places.try_acquire();
                place = Some(taken.map_err(|_: TryAcquireError| ApiError::Unavailable)?);
            }
            permit.release();
            let waiting = async {
                sleep(pause).await;
                self.reachability.wait_until_reachable().await;
            };
            tokio::select! {
                waited = timeout_at(deadline, waiting) => {
                    waited.map_err(|_| ApiError::Unavailable)?;
                }
                () = self.readiness.drained() => return Err(ApiError::Unavailable),
            }
            permit.acquire()?;
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }
}
