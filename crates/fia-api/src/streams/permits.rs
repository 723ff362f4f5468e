//! Permits that limit concurrent viewers, in total and per user.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use crate::config;
use crate::streams::StreamError;

/// The permits of this process; cheap to clone.
#[derive(Clone)]
pub(super) struct Permits {
    used: Arc<Mutex<Used>>,
    max: usize,
    max_per_user: usize,
}

#[derive(Default)]
struct Used {
    total: usize,
    by_user: HashMap<i32, usize>,
}

/// A permit to stream a log; released when dropped.
pub(super) struct Permit {
    permits: Permits,
    user_number: Option<i32>,
}

impl Permits {
    pub(super) fn new(limits: &config::LogViewers) -> Self {
        Self {
            used: Arc::default(),
            max: limits.max,
            max_per_user: limits.max_per_user,
        }
    }

    /// The most permits in use at a time.
    pub(super) fn max(&self) -> usize {
        self.max
    }

    /// Acquires a permit. Without a user number only the total is limited.
    pub(super) fn acquire(&self, user_number: Option<i32>) -> Result<Permit, StreamError> {
        let mut used = self.used();
        if let Some(user_number) = user_number {
            let of_user = used.by_user.entry(user_number).or_default();
            if *of_user >= self.max_per_user {
                return Err(StreamError::TooMany);
            }
        }
        if used.total >= self.max {
            return Err(StreamError::Full);
        }
        used.total += 1;
        if let Some(user_number) = user_number {
            *used.by_user.entry(user_number).or_default() += 1;
        }
        Ok(Permit {
            permits: self.clone(),
            user_number,
        })
    }

    /// The number of permits in use.
    pub(super) fn in_use(&self) -> usize {
        self.used().total
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut used = self.permits.used();
        used.total -= 1;
        if let Some(user_number) = self.user_number
            && let Some(of_user) = used.by_user.get_mut(&user_number)
        {
            *of_user -= 1;
            if *of_user == 0 {
                used.by_user.remove(&user_number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_are_limited_in_total_and_per_user() {
        let permits = Permits::new(&config::LogViewers {
            max: 3,
            max_per_user: 2,
        });
        let first = permits.acquire(Some(1)).unwrap();
        let _second = permits.acquire(Some(1)).unwrap();
        assert_eq!(permits.acquire(Some(1)).err(), Some(StreamError::TooMany));
        let third = permits.acquire(None).unwrap();
        assert_eq!(permits.acquire(Some(2)).err(), Some(StreamError::Full));
        assert_eq!(permits.acquire(None).err(), Some(StreamError::Full));
        drop(third);
        drop(first);
        let _again = permits.acquire(Some(1)).unwrap();
        assert_eq!(permits.acquire(Some(1)).err(), Some(StreamError::TooMany));
        let _other = permits.acquire(Some(2)).unwrap();
        assert_eq!(permits.used().by_user.len(), 2);
    }
}
