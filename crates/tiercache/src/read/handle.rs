//! A handle to a key, for repeated reads of its local entry.

use std::fmt::{self, Display};
use std::sync::Arc;

use crate::clock::Moment;
use crate::local::entry::{Entry, KeyRef};
use crate::local::holders::Held;
use crate::namespace::{Inner, Namespace, with_name};

/// One of this many hits is looked up in the store, whose eviction spares what is looked up. A
/// prime: no regular order of requests leaves out a handle.
const LOOKED_UP: u64 = 61;

/// A handle to a key of a namespace, which reads its entry in the local cache without formatting
/// the key, and while the entry stays there, without a look-up. It holds no value that the local
/// cache has evicted. Cheap to clone.
pub struct LocalHandle<V, E> {
    namespace: Arc<Inner<V, E>>,
    held: Arc<Held<Entry<V>>>,
}

impl<V, E> Clone for LocalHandle<V, E> {
    fn clone(&self) -> Self {
        Self {
            namespace: Arc::clone(&self.namespace),
            held: Arc::clone(&self.held),
        }
    }
}

impl<V, E> fmt::Debug for LocalHandle<V, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.held.name;
        f.debug_tuple("LocalHandle").field(name).finish()
    }
}

impl<V, E> LocalHandle<V, E>
where
    V: Clone + Send + Sync + 'static,
{
    /// The value, as [`Namespace::get_local`] returns it.
    #[inline]
    pub fn get(&self) -> Option<V> {
        let now = Moment::now();
        let hits = self.namespace.counters.local_hits.get();
        let is_looked_up = hits.is_multiple_of(LOOKED_UP);
        if !is_looked_up {
            let value = |entry: &Entry<V>| self.namespace.idle(entry, now);
            if let Some(value) = self.held.with(value) {
                return Some(value);
            }
        }
        self.look_up(now)
    }

    fn look_up(&self, now: Moment) -> Option<V> {
        let key = KeyRef {
            namespace: self.namespace.id,
            name: &self.held.name,
            hash: self.held.hash,
        };
        let entry = self.namespace.get_local(key, now)?;
        let value = self.namespace.idle(&entry, now)?;
        if !self.held.is(&entry) {
            entry.hold(&self.held);
        }
        Some(value)
    }
}

impl<K, V, E> Namespace<K, V, E>
where
    K: Display + ?Sized,
    V: Clone + Send + Sync + 'static,
{
    /// A handle to a key.
    pub fn local_handle(&self, key: &K) -> LocalHandle<V, E> {
        let held = with_name(key, |name| Held::new(name, self.0.hash(name)));
        LocalHandle {
            namespace: Arc::clone(&self.0),
            held: Arc::new(held),
        }
    }

    /// Returns the value of this key if it is in the local cache and no background work (early
    /// refresh, sample) is due; otherwise `None`, and the caller continues with
    /// [`get`](Self::get). Never waits. The value is as fresh as there.
    pub fn get_local(&self, key: &K) -> Option<V> {
        with_name(key, |name| {
            let now = Moment::now();
            let entry = self.0.get_local(self.0.entry_key(name), now)?;
            self.0.idle(&entry, now)
        })
    }
}

impl<V, E> Inner<V, E>
where
    V: Clone + Send + Sync + 'static,
{
    /// The value of an entry that is current and has no background work due: a hit.
    #[inline]
    fn idle(&self, entry: &Entry<V>, now: Moment) -> Option<V> {
        let hits = &self.counters.local_hits;
        let is_idle = !entry.is_refresh_due(now) && !self.is_sample(hits.get());
        (is_idle && self.is_current(entry, now)).then(|| {
            hits.one();
            entry.value.clone()
        })
    }
}
