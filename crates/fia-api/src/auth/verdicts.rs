//! A memory of the tokens that the auth service has accepted, bounded in size and time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use quick_cache::sync::Cache;

use crate::auth::Caller;

/// SHA-256 of a token: the memory holds no token.
pub(super) type TokenHash = [u8; 32];

/// How long an accepted token is remembered at most.
const MAX_AGE: Duration = Duration::from_secs(60);
/// Maximum number of remembered tokens; the least used ones are forgotten.
const MAX_TOKENS: usize = 10_000;

/// The accepted tokens. Rejections are not remembered: they may come from a replica of the service
/// that does not have the new secret yet.
pub(super) struct Verdicts {
    accepted: Cache<TokenHash, Accepted>,
    /// The tokens that are being verified, each with the lock of the request that verifies.
    in_flight: Mutex<HashMap<TokenHash, Arc<tokio::sync::Mutex<()>>>>,
}

/// A token that was accepted.
#[derive(Clone, Copy)]
struct Accepted {
    caller: Caller,
    /// The end of the verdict; the entry stays, as one of a token that was valid before.
    until: Instant,
}

impl Verdicts {
    pub(super) fn new() -> Self {
        Self {
            accepted: Cache::new(MAX_TOKENS),
            in_flight: Mutex::default(),
        }
    }

    /// The caller of a token that was accepted, if the verdict still holds.
    pub(super) fn caller(&self, hash: &TokenHash, now: Instant) -> Option<Caller> {
        let accepted = self.accepted.get(hash)?;
        (now < accepted.until).then_some(accepted.caller)
    }

    /// Whether the token was accepted before, also if the verdict has expired.
    pub(super) fn was_accepted(&self, hash: &TokenHash) -> bool {
        self.accepted.contains_key(hash)
    }

    /// Remembers an accepted token until it expires, for a minute at most.
    pub(super) fn accept(&self, hash: TokenHash, caller: Caller, expiry: Option<SystemTime>) {
        let left = match expiry {
            // Zero if it has expired meanwhile.
            Some(expiry) => expiry
                .duration_since(SystemTime::now())
                .unwrap_or_default()
                .min(MAX_AGE),
            None => MAX_AGE,
        };
        let until = Instant::now() + left;
        self.accepted.insert(hash, Accepted { caller, until });
    }

    /// Forgets a token that is no longer accepted.
    pub(super) fn reject(&self, hash: &TokenHash) {
        self.accepted.remove(hash);
    }

    /// A gate at which concurrent requests with one token queue, so that one verifies it.
    pub(super) fn gate(&self, hash: TokenHash) -> Gate<'_> {
        let lock = Arc::clone(self.in_flight.lock().entry(hash).or_default());
        Gate {
            verdicts: self,
            hash,
            lock,
        }
    }
}

/// A gate of one token; removed with the last request that waits at it.
pub(super) struct Gate<'a> {
    verdicts: &'a Verdicts,
    hash: TokenHash,
    lock: Arc<tokio::sync::Mutex<()>>,
}

impl Gate<'_> {
    /// Waits until no other request verifies the token.
    pub(super) async fn pass(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.lock.lock().await
    }
}

impl Drop for Gate<'_> {
    fn drop(&mut self) {
        let mut in_flight = self.verdicts.in_flight.lock();
        // Clones are made under this lock: the map's and this one are the last two.
        if Arc::strong_count(&self.lock) <= 2 {
            in_flight.remove(&self.hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLER: Caller = Caller::User { user_number: 1 };

    #[test]
    fn a_verdict_ends_with_its_token_and_after_a_minute() {
        let verdicts = Verdicts::new();
        let (now, clock) = (Instant::now(), SystemTime::now());
        let after = |seconds: u64| Duration::from_secs(seconds);
        let hours = Some(clock + after(7200));
        verdicts.accept([1; 32], CALLER, hours);
        verdicts.accept([2; 32], CALLER, Some(clock + after(5)));
        verdicts.accept([3; 32], CALLER, Some(clock - after(1)));
        let caller = |hash: u8, seconds| verdicts.caller(&[hash; 32], now + after(seconds));
        assert_eq!(caller(1, 59), Some(CALLER));
        assert_eq!(caller(1, 62), None);
        assert_eq!(caller(2, 4), Some(CALLER));
        assert_eq!(caller(2, 7), None);
        assert_eq!(caller(3, 1), None);
        assert_eq!(caller(4, 0), None);
        assert!(verdicts.was_accepted(&[1; 32]) && !verdicts.was_accepted(&[4; 32]));
        verdicts.reject(&[1; 32]);
        assert!(!verdicts.was_accepted(&[1; 32]) && caller(1, 0).is_none());
    }

    #[test]
    fn the_memory_is_bounded() {
        let verdicts = Verdicts::new();
        for i in 0..(2 * MAX_TOKENS as u64) {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&i.to_le_bytes());
            verdicts.accept(hash, CALLER, None);
        }
        assert!(verdicts.accepted.len() <= MAX_TOKENS + MAX_TOKENS / 10);
    }

    #[tokio::test]
    async fn a_gate_is_removed_with_its_last_request() {
        let verdicts = Verdicts::new();
        let (one, other) = (verdicts.gate([1; 32]), verdicts.gate([1; 32]));
        let passed = one.pass().await;
        assert!(other.lock.try_lock().is_err());
        drop(passed);
        drop(one);
        assert_eq!(verdicts.in_flight.lock().len(), 1);
        drop(other);
        assert!(verdicts.in_flight.lock().is_empty());
    }
}
