//! What this process remembers of a class: to answer from, and to fall back on.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::class::Inner;
use crate::coherence::Stamp;
use crate::local::{Entry, Standing, Store};
use crate::outcome::{CachedValue, Failure, Source};

/// In which part of its life an entry in use is loaded anew: somewhere in this last part of the
/// time to live, at random, so that replicas do not do it together.
const REFRESH_IN: std::ops::Range<f64> = 0.05..0.20;

/// The state of things before a value was asked for.
#[derive(Clone, Copy)]
pub(crate) struct Before {
    stamp: Stamp,
    epoch: u64,
    at: Instant,
}

impl Before {
    pub(crate) fn epoch(self) -> u64 {
        self.epoch
    }
}

impl<V, E> Inner<V, E> {
    fn store(&self) -> Option<&Store> {
        let kept = self.spec.local.is_some() && !self.spec.ttl.is_zero();
        self.shared.local.as_ref().filter(|_| kept)
    }

    /// Whether values of this class are kept in memory.
    pub(crate) fn is_kept(&self) -> bool {
        self.store().is_some()
    }

    /// To be taken **before** a value is asked for, or loaded.
    pub(crate) fn before(&self, name: &str) -> Before {
        Before {
            stamp: self.shared.coherence.stamp(self.hash(name)),
            epoch: self.epoch(name),
            at: Instant::now(),
        }
    }
}

impl<V, E> Inner<V, E>
where
    V: Clone + Send + Sync + 'static,
{
    /// The current value of this name, if memory has it.
    pub(crate) fn recall(&self, name: &str) -> Option<(V, Arc<Entry>)> {
        let entry = self.store()?.get(self.number, name)?;
        self.is_current(name, &entry).then_some(())?;
        Some((entry.value()?, entry))
    }

    /// Whether an entry may be served. Asked at every read.
    pub(crate) fn is_current(&self, name: &str, entry: &Entry) -> bool {
        let now = Instant::now();
        let stands = match entry.standing {
            Standing::Told(stamp) => {
                let key = self.hash(name);
                self.shared.coherence.is_current(stamp, key, now)
            }
            Standing::Unshared => true,
            Standing::Answered => false,
        };
        stands && now < entry.deadline
    }

    /// Remembers what the shared level has, for as long as it has it. Something without an end
    /// is none of ours, and known for this moment only.
    pub(crate) fn remember_shared(
        &self,
        name: &str,
        value: &V,
        before: Before,
        life: Option<Duration>,
    ) {
        let Some(life) = life else {
            return self.remember_answer(name, value, before);
        };
        let life = life.min(self.spec.ttl);
        self.remember(name, value, before, Standing::Told(before.stamp), life);
    }

    /// Remembers what was given as an answer now. It takes the place of whatever was
    /// remembered: no later answer may be an earlier value.
    pub(crate) fn remember_answer(&self, name: &str, value: &V, before: Before) {
        let standing = if self.spec.is_shared {
            Standing::Answered
        } else {
            Standing::Unshared
        };
        self.remember(name, value, before, standing, self.spec.ttl);
    }

    fn remember(&self, name: &str, value: &V, before: Before, standing: Standing, life: Duration) {
        let (Some(store), Some(keep)) = (self.store(), &self.spec.local) else {
            return;
        };
        let refresh_before = match standing {
            Standing::Told(_) => self.spec.ttl.mul_f64(rand::random_range(REFRESH_IN)),
            Standing::Unshared | Standing::Answered => Duration::ZERO,
        };
        let entry = Entry::new(
            value.clone(),
            (keep.bytes)(value),
            standing,
            before.at + life,
            refresh_before,
        );
        store.insert(self.number, name, entry);
        // A write of this process ends the epoch and then forgets what is remembered. If it did
        // so before the line above, the epoch tells.
        if self.epoch(name) != before.epoch {
            store.remove(self.number, name);
        }
    }

    /// Forgets a value that a write has replaced, after the write has ended its epoch.
    pub(crate) fn forget(&self, name: &str) {
        if let Some(store) = self.store() {
            store.remove(self.number, name);
        }
    }

    /// The last known value, if it may still serve while the origin is away.
    pub(crate) fn last_known(&self, name: &str) -> Option<CachedValue<V>> {
        let max_stale = self.spec.local.as_ref()?.max_stale;
        let entry = self.store()?.get(self.number, name)?;
        let past_ttl = entry.deadline.elapsed();
        (!max_stale.is_zero() && past_ttl <= max_stale).then_some(())?;
        let left = entry.deadline.saturating_duration_since(Instant::now());
        Some(CachedValue {
            value: entry.value()?,
            source: Source::Stale {
                age: self.spec.ttl.saturating_sub(left) + past_ttl,
                past_ttl,
            },
        })
    }

    /// The outcome, or the last known value where the outcome is that the origin is away.
    pub(crate) fn or_last_known(
        &self,
        name: &str,
        outcome: Result<CachedValue<V>, Failure<E>>,
    ) -> Result<CachedValue<V>, Failure<E>> {
        match outcome {
            Err(Failure::Failed(error)) if (self.spec.is_outage)(&error) => {
                let last_known = self.last_known(name).ok_or(Failure::Failed(error))?;
                self.counters.stale.one();
                Ok(last_known)
            }
            outcome => outcome,
        }
    }
}
