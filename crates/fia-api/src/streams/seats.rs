//! Who may look on: so many at once, and so many of one user.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use crate::config;
use crate::streams::StreamError;

/// The seats of this process; cheap to clone.
#[derive(Clone)]
pub(super) struct Seats {
    taken: Arc<Mutex<Taken>>,
    most: usize,
    most_of_user: usize,
}

#[derive(Default)]
struct Taken {
    all: usize,
    of_users: HashMap<i32, usize>,
}

/// A seat; dropped, it is free again.
pub(super) struct Seat {
    seats: Seats,
    user_number: Option<i32>,
}

impl Seats {
    pub(super) fn new(limits: &config::LogViewers) -> Self {
        Self {
            taken: Arc::default(),
            most: limits.max,
            most_of_user: limits.max_per_user,
        }
    }

    /// Takes a seat; of those without a number, any may be taken.
    pub(super) fn take(&self, user_number: Option<i32>) -> Result<Seat, StreamError> {
        let mut taken = self.taken();
        if let Some(user_number) = user_number {
            let of_user = taken.of_users.entry(user_number).or_default();
            if *of_user >= self.most_of_user {
                return Err(StreamError::TooMany);
            }
        }
        if taken.all >= self.most {
            return Err(StreamError::Full);
        }
        taken.all += 1;
        if let Some(user_number) = user_number {
            *taken.of_users.entry(user_number).or_default() += 1;
        }
        Ok(Seat {
            seats: self.clone(),
            user_number,
        })
    }

    /// How many are taken.
    pub(super) fn count(&self) -> usize {
        self.taken().all
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken();
        taken.all -= 1;
        if let Some(user_number) = self.user_number
            && let Some(of_user) = taken.of_users.get_mut(&user_number)
        {
            *of_user -= 1;
            if *of_user == 0 {
                taken.of_users.remove(&user_number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_limited_and_come_back() {
        let seats = Seats::new(&config::LogViewers {
            max: 3,
            max_per_user: 2,
        });
        let first = seats.take(Some(1)).unwrap();
        let _second = seats.take(Some(1)).unwrap();
        assert_eq!(seats.take(Some(1)).err(), Some(StreamError::TooMany));
        let third = seats.take(None).unwrap();
        assert_eq!(seats.take(Some(2)).err(), Some(StreamError::Full));
        assert_eq!(seats.take(None).err(), Some(StreamError::Full));
        drop(third);
        drop(first);
        let _again = seats.take(Some(1)).unwrap();
        assert_eq!(seats.take(Some(1)).err(), Some(StreamError::TooMany));
        let _other = seats.take(Some(2)).unwrap();
        assert_eq!(seats.taken().of_users.len(), 2);
    }
}
