//! The keys of a server.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

/// The longest time in milliseconds for which a promoted replica may lag.
pub(crate) const LONGEST_LAG: u64 = 9_000;

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Text(Bytes),
    /// Another type.
    List(i64),
}

#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) content: Content,
    /// In milliseconds of the server's clock.
    pub(crate) expires: Option<u64>,
    version: u64,
}

/// Keys, their expiry, and what they held before.
#[derive(Clone, Default)]
pub(crate) struct Store {
    /// The server's clock in milliseconds.
    pub(crate) now: u64,
    /// The keys that changed since the last pushes.
    pub(crate) changed: BTreeSet<Bytes>,
    entries: BTreeMap<Bytes, Entry>,
    version: u64,
    /// Whether changes are kept, to be undone.
    pub(crate) is_replicated: bool,
    history: VecDeque<(u64, Bytes, Option<Entry>)>,
    /// Whether the replica is near: it confirms what was written before.
    pub(crate) has_near_replica: bool,
}

impl Store {
    /// The entry of a key, unless it has expired. An expired one is deleted, which is pushed.
    pub(crate) fn get(&mut self, key: &Bytes) -> Option<&Entry> {
        let now = self.now;
        let is_expired = |entry: &Entry| entry.expires.is_some_and(|at| at < now);
        if self.entries.get(key).is_some_and(is_expired) {
            self.replace(key, None);
        }
        self.entries.get(key)
    }

    /// Lets the replica have all changes, if it is near. Returns whether it is.
    pub(crate) fn replicate(&mut self) -> bool {
        if self.has_near_replica {
            self.history.clear();
        }
        self.has_near_replica
    }

    /// The version of a key, which every change replaces; 0 if it is not there. WATCH does not
    /// delete what has expired.
    pub(crate) fn version(&self, key: &Bytes) -> u64 {
        let is_there = |entry: &&Entry| entry.expires.is_none_or(|at| at >= self.now);
        self.entries
            .get(key)
            .filter(is_there)
            .map_or(0, |entry| entry.version)
    }

    pub(crate) fn set(&mut self, key: &Bytes, content: Content, expires: Option<u64>) {
        self.version += 1;
        let version = self.version;
        let entry = Entry {
            content,
            expires,
            version,
        };
        self.replace(key, Some(entry));
    }

    /// Deletes a key. Whether it was there.
    pub(crate) fn delete(&mut self, key: &Bytes) -> bool {
        let is_there = self.get(key).is_some();
        if is_there {
            self.replace(key, None);
        }
        is_there
    }

    fn replace(&mut self, key: &Bytes, entry: Option<Entry>) {
        let before = match entry {
            Some(entry) => self.entries.insert(key.clone(), entry),
            None => self.entries.remove(key),
        };
        if self.is_replicated {
            self.history.push_back((self.now, key.clone(), before));
            let oldest = self.now.saturating_sub(LONGEST_LAG);
            while self.history.front().is_some_and(|(at, ..)| *at < oldest) {
                self.history.pop_front();
            }
        }
        self.changed.insert(key.clone());
    }

    /// Whether a key expires about now, in milliseconds.
    pub(crate) fn is_near_expiry(&self, now: u64) -> bool {
        let near = now.saturating_sub(3)..now + 60;
        self.entries
            .values()
            .any(|entry| entry.expires.is_some_and(|at| near.contains(&at)))
    }

    /// Deletes the keys that have expired, as a server does ten times a second.
    pub(crate) fn expire(&mut self, now: u64) {
        self.now = now;
        let keys: Vec<Bytes> = self.keys();
        for key in keys {
            let _ = self.get(&key);
        }
    }

    /// Undoes the changes since a time: a replica lagged so much when it was promoted. Nobody is
    /// connected to it, so nothing is pushed.
    pub(crate) fn lose_since(&mut self, time: u64) {
        while self.history.back().is_some_and(|(at, ..)| *at >= time) {
            let Some((_, key, before)) = self.history.pop_back() else {
                break;
            };
            match before {
                Some(entry) => self.entries.insert(key, entry),
                None => self.entries.remove(&key),
            };
        }
        self.changed.clear();
    }

    pub(crate) fn keys(&self) -> Vec<Bytes> {
        self.entries.keys().cloned().collect()
    }

    /// Deletes everything. A push names no key.
    pub(crate) fn clear(&mut self) {
        let changed = std::mem::take(&mut self.changed);
        for key in self.keys() {
            self.replace(&key, None);
        }
        self.changed = changed;
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}
