//! A handle to a key, for repeated reads of its local entry.

use std::fmt::{self, Display};
use std::sync::Arc;

use crate::clock::Moment;
use crate::local::entry::KeyRef;
use crate::local::versions::KeyHash;
use crate::namespace::{Inner, Namespace, with_name};

/// A handle to a key of a namespace, which reads its entry in the local cache without formatting
/// the key. Cheap to clone.
pub struct LocalHandle<V, E> {
    namespace: Arc<Inner<V, E>>,
    name: Arc<str>,
    hash: KeyHash,
}

impl<V, E> Clone for LocalHandle<V, E> {
    fn clone(&self) -> Self {
        Self {
            namespace: Arc::clone(&self.namespace),
            name: Arc::clone(&self.name),
            hash: self.hash,
        }
    }
}

impl<V, E> fmt::Debug for LocalHandle<V, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LocalHandle").field(&self.name).finish()
    }
}

impl<V, E> LocalHandle<V, E>
where
    V: Clone + Send + Sync + 'static,
{
    /// The value, as [`Namespace::get_local`] returns it.
    pub fn get(&self) -> Option<V> {
        self.namespace.get_idle(KeyRef {
            namespace: self.namespace.id,
            name: &self.name,
            hash: self.hash,
        })
    }
}

impl<K, V, E> Namespace<K, V, E>
where
    K: Display + ?Sized,
    V: Clone + Send + Sync + 'static,
{
    /// A handle to a key.
    pub fn local_handle(&self, key: &K) -> LocalHandle<V, E> {
        let name: Arc<str> = with_name(key, |name| name.into());
        LocalHandle {
            namespace: Arc::clone(&self.0),
            name: Arc::clone(&name),
            hash: self.0.hash(&name),
        }
    }

    /// Returns the value of this key if it is in the local cache and no background work (early
    /// refresh, sample) is due; otherwise `None`, and the caller continues with
    /// [`get`](Self::get). Never waits. The value is as fresh as there.
    pub fn get_local(&self, key: &K) -> Option<V> {
        with_name(key, |name| self.0.get_idle(self.0.entry_key(name)))
    }
}

impl<V, E> Inner<V, E>
where
    V: Clone + Send + Sync + 'static,
{
    fn get_idle(&self, key: KeyRef<'_>) -> Option<V> {
        let now = Moment::now();
        let (value, entry) = self.get_local(key, now)?;
        let is_work_due =
            entry.is_refresh_due(now) || self.is_sample(self.counters.local_hits.get());
        (!is_work_due).then_some(())?;
        self.counters.local_hits.one();
        Some(value)
    }
}
