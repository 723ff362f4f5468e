//! A namespace's entries in the local cache: when they are current, and how they are inserted.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Moment;
use crate::local::coherence::VersionStamp;
use crate::local::entry::{Entry, KeyRef, Times, Validity};
use crate::local::group::{Group, GroupStamp};
use crate::local::store::Store;
use crate::local::versions::KeyHash;
use crate::namespace::Inner;
use crate::namespace::config::LocalPolicy;
use crate::read::in_flight::Outcome;
use crate::read::outcome::{CachedValue, Source};
use crate::seams::mutant;

/// The versions of a key, and the time, before its value was requested.
#[derive(Clone, Copy)]
pub(crate) struct ReadSnapshot {
    stamp: VersionStamp,
    write_version: u64,
    group: Option<GroupStamp>,
    slot_changes: u64,
    at: Moment,
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
    pub(crate) fn snapshot(&self, key: KeyHash, group: Option<&Group>) -> ReadSnapshot {
        let shared = &self.shared;
        let of_group = |group: &Group| GroupStamp {
            hash: group.hash,
            stamp: shared.coherence.stamp(group.hash),
            write_version: shared.write_versions.get(group.hash),
        };
        ReadSnapshot {
            stamp: shared.coherence.stamp(key),
            write_version: shared.write_versions.get(key),
            group: group.map(of_group),
            slot_changes: shared.slot_changes(),
            at: Moment::now(),
        }
    }

    /// Whether a slot has got another node since the snapshot. What the node replies may be from before
    /// an invalidation of this process, which became pending after the check of the read.
    pub(crate) fn is_moved_since(&self, snapshot: &ReadSnapshot) -> bool {
        mutant!(RedirectedReadTrusted => return false);
        self.shared.slot_changes() != snapshot.slot_changes
    }

    /// Whether this process has written the key or its group since the snapshot.
    pub(crate) fn is_written_since(&self, key: KeyHash, snapshot: &ReadSnapshot) -> bool {
        let version = |hash| self.shared.write_versions.get(hash);
        let is_group_written = |group: GroupStamp| version(group.hash) != group.write_version;
        version(key) != snapshot.write_version || snapshot.group.is_some_and(is_group_written)
    }

    /// Whether no change of an entry's group is known since the entry's value was requested.
    fn is_group_current(&self, group: GroupStamp, now: Moment) -> bool {
        mutant!(GroupIgnoredInMemory => return true);
        let coherence = &self.shared.coherence;
        // Without a shared level there are no writes but those of this process.
        match self.shared.has_shared_level() {
            true => coherence.is_current(group.stamp, group.hash, now),
            false => coherence.stamp(group.hash) == group.stamp,
        }
    }
}

impl<V, E> Inner<V, E>
where
    V: Clone + Send + Sync + 'static,
{
    /// The value of this key, if it is in the local cache and current.
    pub(crate) fn get_local(&self, key: KeyRef<'_>, now: Moment) -> Option<Arc<Entry<V>>> {
        let entry = self.store()?.get(key)?;
        self.is_current(&entry, now).then_some(entry)
    }

    /// Whether an entry may be served. Checked at every read.
    #[inline]
    pub(crate) fn is_current(&self, entry: &Entry<V>, now: Moment) -> bool {
        let is_valid = match entry.validity {
            Validity::Tracked(stamp) => {
                let coherence = &self.shared.coherence;
                coherence.is_current(stamp, entry.hash, now)
            }
            Validity::LocalOnly => true,
            Validity::FallbackOnly => false,
        };
        is_valid
            && entry.times.deadline.is_after(now)
            && entry
                .group
                .is_none_or(|group| self.is_group_current(group, now))
    }

    /// Inserts a value of the shared level, with the rest of its TTL there, unless the key has
    /// changed since the snapshot: another read may have inserted a later value. A key without a
    /// TTL was not written by this protocol, so its value becomes a fallback only.
    pub(crate) fn insert_shared(
        &self,
        key: KeyRef<'_>,
        value: &V,
        payload_len: usize,
        snapshot: ReadSnapshot,
        ttl: Option<Duration>,
    ) {
        if self.shared.coherence.stamp(key.hash) != snapshot.stamp {
            return;
        }
        let (ttl, validity) = match ttl {
            Some(ttl) => (ttl, Validity::Tracked(snapshot.stamp)),
            None => (self.config.ttl_of(value), Validity::FallbackOnly),
        };
        self.insert(key, value, Some(payload_len), snapshot, validity, ttl);
    }

    /// Inserts a value that is about to be returned. It replaces the entry before, so that no
    /// later read returns an earlier value.
    pub(crate) fn insert_loaded(&self, key: KeyRef<'_>, value: &V, snapshot: ReadSnapshot) {
        mutant!(LoadedValueTracked => if self.config.is_shared {
            return self.insert_shared(key, value, 8, snapshot, Some(self.config.ttl));
        });
        let validity = if self.config.is_shared {
            Validity::FallbackOnly
        } else {
            Validity::LocalOnly
        };
        let ttl = self.config.ttl_of(value);
        self.insert(key, value, None, snapshot, validity, ttl);
    }

    fn insert(
        &self,
        key: KeyRef<'_>,
        value: &V,
        payload_len: Option<usize>,
        snapshot: ReadSnapshot,
        validity: Validity,
        ttl: Duration,
    ) {
        let (Some(store), Some(policy)) = (self.store(), &self.config.local) else {
            return;
        };
        let Some(weight) = self.weight(policy, value, payload_len) else {
            return store.remove(key);
        };
        let whole = self.config.ttl_of(value);
        let ttl = ttl.min(whole);
        let refresh_before = match validity {
            Validity::Tracked(_) => policy.refresh_before(whole),
            Validity::LocalOnly | Validity::FallbackOnly => Duration::ZERO,
        };
        let deadline = snapshot.at + ttl;
        let loaded = deadline.before(whole);
        #[cfg(tiercache_simulation)]
        let loaded = match crate::mutants::Mutant::AgeUnderstated.is_active() {
            true => snapshot.at,
            false => loaded,
        };
        let times = Times {
            loaded,
            refresh: deadline.before(refresh_before),
            deadline,
        };
        let (value, validity) = ((value.clone(), weight), (validity, snapshot.group));
        store.insert(key, Entry::new(key.hash, value, validity, times));
        mutant!(OwnWriteIgnored => return);
        // A write of this process changes the version and then removes the entry. If it did so
        // before the line above, the version shows it.
        if self.shared.write_versions.get(key.hash) != snapshot.write_version {
            store.remove(key);
        }
    }

    /// The size of a value in bytes; `None` if it is too large to be kept.
    fn weight(
        &self,
        policy: &LocalPolicy<V>,
        value: &V,
        payload_len: Option<usize>,
    ) -> Option<usize> {
        let payload_len = || {
            payload_len.or_else(|| {
                let payload = self.config.encode(value);
                payload.ok().map(|payload| payload.len())
            })
        };
        let weight = match &policy.weight {
            Some(weight) => weight(value),
            None => payload_len()? + size_of::<V>(),
        };
        // The limit is for the payload, which is often smaller than the value.
        let is_kept =
            weight <= self.config.max_payload || payload_len()? <= self.config.max_payload;
        is_kept.then_some(weight)
    }

    /// Removes an entry that a write has replaced. **Call it after the write version changed.**
    pub(crate) fn remove_local(&self, name: &str) {
        mutant!(LastKnownKept => return);
        if let Some(store) = self.store() {
            store.remove(self.entry_key(name));
        }
    }

    /// The last known value, if it may still be served while the origin is unavailable.
    pub(crate) fn last_known(&self, name: &str) -> Option<CachedValue<V>> {
        let max_stale = self.config.local.as_ref()?.max_stale;
        mutant!(LastKnownNotServed => return None);
        let entry: Arc<Entry<V>> = self.store()?.get(self.entry_key(name))?;
        let now = Moment::now();
        let past_ttl = now.since(entry.times.deadline);
        let is_recent = past_ttl <= max_stale;
        #[cfg(tiercache_simulation)]
        let is_recent = is_recent || crate::mutants::Mutant::AgeUnlimited.is_active();
        (!max_stale.is_zero() && is_recent).then_some(())?;
        let age = now.since(entry.times.loaded);
        let source = Source::Stale { age, past_ttl };
        Some(CachedValue::new(entry.value.clone(), source, Some(age)))
    }

    /// The outcome, or the last known value if the outcome is an outage of the origin.
    pub(crate) fn or_last_known(&self, name: &str, outcome: Outcome<V, E>) -> Outcome<V, E> {
        match outcome {
            Err(failure) if self.is_outage(&failure) => {
                let last_known = self.last_known(name).ok_or(failure)?;
                self.counters.stale.one();
                Ok(last_known)
            }
            outcome => outcome,
        }
    }
}
