//! A namespace: the keys with one prefix, with their type of value, TTL and codec.

pub(crate) mod builder;
pub(crate) mod config;

use std::cell::Cell;
use std::fmt::{self, Display, Write as _};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

pub(crate) use config::Config;

use crate::cache::Cache;
use crate::local::entry::KeyRef;
use crate::local::group::Group;
use crate::local::versions::KeyHash;
use crate::read::in_flight::InFlight;
use crate::shared::Shared;
use crate::stats::Counters;
use crate::write::key::Key;

/// The keys with one prefix: each value `V` of a key `K`, loaded with errors `E`. Cheap to clone;
/// clones share their fetches.
///
/// A key is the prefix followed by the text of a `K`, of which two must differ if they mean
/// different values.
pub struct Namespace<K: ?Sized, V, E>(pub(crate) Arc<Inner<V, E>>, pub(crate) Grouping<K>);

/// Derives the group of a key; `None` for a namespace without groups.
pub(crate) struct Grouping<K: ?Sized>(pub(crate) Option<Arc<GroupOf<K>>>);

pub(crate) type GroupOf<K> = dyn Fn(&K) -> Group + Send + Sync;

pub(crate) struct Inner<V, E> {
    pub(crate) config: Config<V, E>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) counters: Arc<Counters>,
    /// Identifies it within the cache.
    pub(crate) id: u32,
    /// Whether the last load found the origin unavailable.
    pub(crate) origin_unavailable: AtomicBool,
    prefix_hash: KeyHash,
    pub(crate) in_flight: Arc<InFlight<V, E>>,
}

impl<K: ?Sized, V, E> Clone for Namespace<K, V, E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0), self.1.clone())
    }
}

impl<K: ?Sized> Clone for Grouping<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: ?Sized> Grouping<K> {
    pub(crate) fn of(&self, key: &K) -> Option<Group> {
        self.0.as_ref().map(|group_of| group_of(key))
    }
}

impl<K: ?Sized, V, E> fmt::Debug for Namespace<K, V, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Namespace")
            .field(&self.0.config.name)
            .finish()
    }
}

impl<K: ?Sized, V, E> Namespace<K, V, E> {
    pub(crate) fn new(
        config: Config<V, E>,
        id: u32,
        shared: Arc<Shared>,
        counters: Arc<Counters>,
        grouping: Grouping<K>,
    ) -> Self {
        let prefix_hash = KeyHash::of(&config.prefix);
        let inner = Inner {
            config,
            shared,
            counters,
            id,
            origin_unavailable: AtomicBool::new(false),
            prefix_hash,
            in_flight: Arc::new(InFlight::new()),
        };
        Self(Arc::new(inner), grouping)
    }
}

impl<K: Display + ?Sized, V, E> Namespace<K, V, E> {
    /// The key in the shared level, to be fenced by a [write](Cache::write).
    pub fn key(&self, key: &K) -> Key {
        with_name(key, |name| Key {
            text: self.0.key(name).into(),
            local: self.0.entry_key(name).to_owned(),
            counters: Arc::clone(&self.0.counters),
            value: None,
        })
    }

    /// The cache of the namespace.
    pub fn cache(&self) -> Cache {
        Cache(Arc::clone(&self.0.shared))
    }
}

thread_local! {
    /// A buffer for the text of a key: a local hit does not allocate.
    static NAME: Cell<String> = const { Cell::new(String::new()) };
}

/// Calls `f` with the text of a key, that is its name within the namespace.
pub(crate) fn with_name<K: Display + ?Sized, T>(key: &K, f: impl FnOnce(&str) -> T) -> T {
    // Taken, not borrowed: the key's own code may read a cache.
    let mut name = NAME.take();
    name.clear();
    // A `Display` that fails yields the text that it has written.
    let _ = write!(name, "{key}");
    let result = f(&name);
    NAME.set(name);
    result
}

impl<V, E> Inner<V, E> {
    /// The number of writes of this key by this process, modulo collisions.
    pub(crate) fn write_version(&self, name: &str) -> u64 {
        self.shared.write_versions.get(self.hash(name))
    }

    pub(crate) fn hash(&self, name: &str) -> KeyHash {
        self.prefix_hash.then(name)
    }

    /// The key of its entry in the local cache.
    pub(crate) fn entry_key<'a>(&self, name: &'a str) -> KeyRef<'a> {
        KeyRef {
            namespace: self.id,
            name,
            hash: self.hash(name),
        }
    }

    pub(crate) fn key(&self, name: &str) -> String {
        [&*self.config.prefix, name].concat()
    }

    /// The name of a key of this namespace.
    pub(crate) fn name<'a>(&self, key: &'a str) -> &'a str {
        &key[self.config.prefix.len()..]
    }

    /// Whether the shared level must be bypassed for this key, or its group.
    pub(crate) fn is_pending(&self, key: &str, group: Option<&Group>) -> bool {
        let shared = &self.shared;
        let is_pending =
            |key| shared.pending.contains(key) || shared.bypassed.contains(key, || shared.losses());
        is_pending(key) || group.is_some_and(|group| is_pending(&group.key))
    }
}
