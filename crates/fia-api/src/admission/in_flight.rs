//! Permits of requests in flight.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::ApiError;

/// The permits of requests in flight.
pub struct InFlight {
    permits: Arc<Semaphore>,
    max: usize,
    refused: Arc<AtomicU64>,
}

/// The permit of one request, an extension of it. Released while the body is received, so that a
/// client that sends slowly takes no permit of others.
#[derive(Debug, Clone)]
pub struct RequestPermit {
    permits: Arc<Semaphore>,
    held: Arc<Mutex<Option<OwnedSemaphorePermit>>>,
    refused: Arc<AtomicU64>,
}

impl InFlight {
    pub(super) fn new(max: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(max)),
            max,
            refused: Arc::default(),
        }
    }

    /// Acquires a permit for a request.
    ///
    /// # Errors
    /// [`ApiError::Unavailable`] while too many requests are in flight.
    pub fn acquire(&self) -> Result<RequestPermit, ApiError> {
        let permit = RequestPermit {
            permits: Arc::clone(&self.permits),
            held: Arc::default(),
            refused: Arc::clone(&self.refused),
        };
        permit.acquire()?;
        Ok(permit)
    }

    /// The requests in flight.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.max.saturating_sub(self.permits.available_permits())
    }

    /// The requests that were refused so far.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

impl RequestPermit {
    /// Releases the permit, when the request is dropped at the latest.
    pub fn release(&self) {
        self.held.lock().take();
    }

    /// Acquires the permit again, when the body is complete.
    ///
    /// # Errors
    /// [`ApiError::Unavailable`] while too many requests are in flight.
    pub fn acquire(&self) -> Result<(), ApiError> {
        let mut held = self.held.lock();
        if held.is_none() {
            let permit = Arc::clone(&self.permits).try_acquire_owned();
            *held = Some(permit.map_err(|_| {
                self.refused.fetch_add(1, Ordering::Relaxed);
                ApiError::Unavailable
            })?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_released_permit_is_free_for_others_until_it_is_acquired_again() {
        let in_flight = InFlight::new(1);
        let first = in_flight.acquire().unwrap();
        assert_eq!(in_flight.acquire().err(), Some(ApiError::Unavailable));
        first.release();
        let second = in_flight.acquire().unwrap();
        assert_eq!(first.acquire(), Err(ApiError::Unavailable));
        assert_eq!((in_flight.in_use(), in_flight.refused()), (1, 2));
        drop(second);
        assert_eq!(first.acquire(), Ok(()));
        assert_eq!(first.acquire(), Ok(()));
        drop(first);
        assert_eq!(in_flight.in_use(), 0);
    }
}
