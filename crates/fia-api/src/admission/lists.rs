//! Permits of long lists, which are streamed for many seconds: so few for each user that two users
//! cannot take all.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::auth::Caller;
use crate::error::ApiError;

/// The most lists that are streamed to one user at a time.
const MAX_PER_USER: usize = 2;

/// The lists that are being streamed, by user number.
#[derive(Debug, Default)]
pub struct Lists(Arc<Mutex<HashMap<i32, usize>>>);

/// A permit to stream a list; released when dropped.
#[derive(Debug)]
pub struct ListPermit {
    lists: Arc<Mutex<HashMap<i32, usize>>>,
    user_number: Option<i32>,
}

impl Lists {
    /// Acquires a permit. Programs with the API key share their user number and are not limited
    /// here.
    ///
    /// # Errors
    /// [`ApiError::TooMany`] for a user who has two already.
    pub fn acquire(&self, caller: Caller) -> Result<ListPermit, ApiError> {
        let user_number = (caller != Caller::ApiKey).then_some(caller.user_number());
        if let Some(user_number) = user_number {
            let mut lists = self.0.lock();
            let of_user = lists.entry(user_number).or_default();
            if *of_user >= MAX_PER_USER {
                return Err(ApiError::TooMany);
            }
            *of_user += 1;
        }
        Ok(ListPermit {
            lists: Arc::clone(&self.0),
            user_number,
        })
    }
}

impl Drop for ListPermit {
    fn drop(&mut self) {
        let Some(user_number) = self.user_number else {
            return;
        };
        let mut lists = self.lists.lock();
        if let Some(of_user) = lists.get_mut(&user_number) {
            *of_user -= 1;
            if *of_user == 0 {
                lists.remove(&user_number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_two_permits_and_a_program_any_number() {
        let lists = Lists::default();
        let user = Caller::User { user_number: 1 };
        let staff = Caller::Staff { user_number: 2 };
        let first = lists.acquire(user).unwrap();
        let second = lists.acquire(user).unwrap();
        assert_eq!(lists.acquire(user).err(), Some(ApiError::TooMany));
        drop(first);
        drop((lists.acquire(user).unwrap(), second));
        let _others: Vec<_> = [Caller::ApiKey, Caller::ApiKey, Caller::ApiKey, staff, staff]
            .map(|caller| lists.acquire(caller).unwrap())
            .into();
        assert_eq!(lists.acquire(staff).err(), Some(ApiError::TooMany));
        assert_eq!(lists.0.lock().len(), 1);
    }
}
