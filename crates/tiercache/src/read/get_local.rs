//! A namespace's entries in the local cache: when they are current, and how they are inserted.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::local::coherence::VersionStamp;
use crate::local::store::{Entry, Store, Validity};
use crate::namespace::Inner;
use crate::read::outcome::{CachedValue, Failure, Source};

/// The early refresh becomes due in this last part of the TTL, at random, so that replicas do not
/// refresh at the same time.
const REFRESH_WINDOW: std::ops::Range<f64> = 0.05..0.20;

/// The versions of a key, and the time, before its value was requested.
#[derive(Clone, Copy)]
pub(crate) struct ReadSnapshot {
    stamp: VersionStamp,
    write_version: u64,
    at: Instant,
}

impl ReadSnapshot {
    pub(crate) fn write_version(self) -> u64 {
        self.write_version
    }
}

impl<V, E> Inner<V, E> {
    fn store(&self) -> Option<&Store> {
        let is_kept = self.config.local.is_some() && !self.config.ttl.is_zero();
        self.shared.local.as_ref().filter(|_| is_kept)
    }

    /// Whether values of this namespace are kept in the local cache.
    pub(crate) fn is_kept_locally(&self) -> bool {
        self.store().is_some()
    }

    /// **Take it before a value is requested or loaded.**
    pub(crate) fn snapshot(&self, name: &str) -> ReadSnapshot {
        ReadSnapshot {
            stamp: self.shared.coherence.stamp(self.hash(name)),
            write_version: self.write_version(name),
            at: Instant::now(),
        }
    }
}

impl<V, E> Inner<V, E>
where
    V: Clone + Send + Sync + 'static,
{
    /// The value of this name, if it is in the local cache and current.
    pub(crate) fn get_local(&self, name: &str) -> Option<(V, Arc<Entry>)> {
        let entry = self.store()?.get(self.id, name)?;
        self.is_current(name, &entry).then_some(())?;
        Some((entry.value()?, entry))
    }

    /// Whether an entry may be served. Checked at every read.
    pub(crate) fn is_current(&self, name: &str, entry: &Entry) -> bool {
        let now = Instant::now();
        let is_valid = match entry.validity {
            Validity::Tracked(stamp) => {
                let key = self.hash(name);
                self.shared.coherence.is_current(stamp, key, now)
            }
            Validity::LocalOnly => true,
            Validity::FallbackOnly => false,
        };
        is_valid && now < entry.deadline
    }

    /// Inserts a value of the shared level, with the rest of its TTL there. A key without a TTL
    /// was not written by this protocol, so its value becomes a fallback only.
    pub(crate) fn insert_shared(
        &self,
        name: &str,
        value: &V,
        snapshot: ReadSnapshot,
        ttl: Option<Duration>,
    ) {
        let Some(ttl) = ttl else {
            return self.insert_loaded(name, value, snapshot);
        };
        let ttl = ttl.min(self.config.ttl);
        let validity = Validity::Tracked(snapshot.stamp);
        self.insert(name, value, snapshot, validity, ttl);
    }

    /// Inserts a value that is about to be returned. It replaces the entry before, so that no
    /// later read returns an earlier value.
    pub(crate) fn insert_loaded(&self, name: &str, value: &V, snapshot: ReadSnapshot) {
        let validity = if self.config.is_shared {
            Validity::FallbackOnly
        } else {
            Validity::LocalOnly
        };
        self.insert(name, value, snapshot, validity, self.config.ttl);
    }

    fn insert(
        &self,
        name: &str,
        value: &V,
        snapshot: ReadSnapshot,
        validity: Validity,
        ttl: Duration,
    ) {
        let (Some(store), Some(policy)) = (self.store(), &self.config.local) else {
            return;
        };
        let refresh_before = match validity {
            Validity::Tracked(_) => self.config.ttl.mul_f64(rand::random_range(REFRESH_WINDOW)),
            Validity::LocalOnly | Validity::FallbackOnly => Duration::ZERO,
        };
        let entry = Entry::new(
            value.clone(),
            (policy.bytes)(value),
            validity,
            snapshot.at + ttl,
            refresh_before,
        );
        store.insert(self.id, name, entry);
        // A write of this process changes the version and then removes the entry. If it did so
        // before the line above, the version shows it.
        if self.write_version(name) != snapshot.write_version {
            store.remove(self.id, name);
        }
    }

    /// Removes an entry that a write has replaced. **Call it after the write version changed.**
    pub(crate) fn remove_local(&self, name: &str) {
        if let Some(store) = self.store() {
            store.remove(self.id, name);
        }
    }

    /// The last known value, if it may still be served while the origin is unavailable.
    pub(crate) fn last_known(&self, name: &str) -> Option<CachedValue<V>> {
        let max_stale = self.config.local.as_ref()?.max_stale;
        let entry = self.store()?.get(self.id, name)?;
        let past_ttl = entry.deadline.elapsed();
        (!max_stale.is_zero() && past_ttl <= max_stale).then_some(())?;
        let left = entry.deadline.saturating_duration_since(Instant::now());
        Some(CachedValue {
            value: entry.value()?,
            source: Source::Stale {
                age: self.config.ttl.saturating_sub(left) + past_ttl,
                past_ttl,
            },
        })
    }

    /// The outcome, or the last known value if the outcome is an outage of the origin.
    pub(crate) fn or_last_known(
        &self,
        name: &str,
        outcome: Result<CachedValue<V>, Failure<E>>,
    ) -> Result<CachedValue<V>, Failure<E>> {
        match outcome {
            Err(Failure::Failed(error)) if (self.config.is_outage)(&error) => {
                let last_known = self.last_known(name).ok_or(Failure::Failed(error))?;
                self.counters.stale.one();
                Ok(last_known)
            }
            outcome => outcome,
        }
    }
}
