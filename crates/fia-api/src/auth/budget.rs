//! Budgets for requests to the auth service about tokens with an unknown signature, which anyone
//! can send.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use quick_cache::sync::Cache;

/// Verifications a second of tokens whose user is not known.
const STRANGERS_PER_SECOND: u32 = 10;
/// Verifications a second of new tokens of known users, altogether and for each.
const USERS_PER_SECOND: u32 = 100;
const USER_PER_SECOND: u32 = 10;
/// Maximum number of known users; the least used ones are forgotten.
const MAX_USERS: usize = 10_000;

/// The budgets. A user is known after a valid token: a forged token that names a user spends that
/// user's budget at most, and never that of tokens which were verified before.
pub(super) struct Budget {
    strangers: RateLimiter,
    users: RateLimiter,
    known: Cache<i32, Arc<RateLimiter>>,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self {
            strangers: RateLimiter::per_second(STRANGERS_PER_SECOND),
            users: RateLimiter::per_second(USERS_PER_SECOND),
            known: Cache::new(MAX_USERS),
        }
    }

    /// Records the user of a valid token.
    pub(super) fn record_user(&self, user_number: i32) {
        if !self.known.contains_key(&user_number) {
            let limiter = RateLimiter::per_second(USER_PER_SECOND);
            self.known.insert(user_number, Arc::new(limiter));
        }
    }

    /// Spends a verification of a token that claims this user. False if there is none left.
    pub(super) fn spend(&self, claimed_user: Option<i32>, now: Instant) -> bool {
        match claimed_user.and_then(|user| self.known.get(&user)) {
            Some(user) => user.try_acquire(now) && self.users.try_acquire(now),
            None => self.strangers.try_acquire(now),
        }
    }
}

/// A limit on operations a second, counted in fixed windows.
struct RateLimiter {
    limit: u32,
    /// The start of the window, and the attempts in it.
    window: Mutex<(Option<Instant>, u32)>,
}

impl RateLimiter {
    fn per_second(limit: u32) -> Self {
        Self {
            limit,
            window: Mutex::new((None, 0)),
        }
    }

    /// Counts an attempt, and returns true if it is within the limit.
    fn try_acquire(&self, now: Instant) -> bool {
        let mut window = self.window.lock();
        let (start, attempts) = &mut *window;
        if start.is_none_or(|start| now.duration_since(start) >= Duration::from_secs(1)) {
            (*start, *attempts) = (Some(now), 0);
        }
        *attempts += 1;
        *attempts <= self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_limiter_resets_every_second() {
        let limiter = RateLimiter::per_second(2);
        let start = Instant::now();
        let later = start + Duration::from_secs(1);
        let acquired: Vec<bool> = [start, start, start, later, later, later]
            .into_iter()
            .map(|now| limiter.try_acquire(now))
            .collect();
        assert_eq!(acquired, [true, true, false, true, true, false]);
    }

    #[test]
    fn strangers_spend_neither_the_budget_of_known_users_nor_one_user_that_of_another() {
        let budget = Budget::new();
        let now = Instant::now();
        budget.record_user(1);
        budget.record_user(2);
        let spent = |user, times: u32| (0..times).filter(|_| budget.spend(user, now)).count();
        assert_eq!(spent(None, 100), 10);
        assert_eq!(spent(Some(3), 100), 0, "an unknown user is a stranger");
        assert_eq!(spent(Some(1), 100), 10);
        assert_eq!(spent(Some(2), 100), 10);
    }
}
