//! Values that a write stores in place of the ones that it replaces.

use std::fmt::Display;

use crate::namespace::{Namespace, with_name};
use crate::write::key::Key;

impl<K, V, E> Namespace<K, V, E>
where
    K: Display + ?Sized,
    V: 'static,
{
    /// The key with its new value, to be fenced by a [write](crate::Cache::write), which stores
    /// the value in the shared level once it has committed: the next read is a hit. There is no
    /// other way to store a value without a load, since only a write can know that no newer one
    /// exists.
    ///
    /// The value must be what the transaction leaves, for instance from `UPDATE … RETURNING`, and
    /// derive only from rows that it has locked.
    ///
    /// The value is stored only if the fence was confirmed, COMMIT succeeded, and no other write
    /// or invalidation of the key came since the fence was raised. Otherwise, or if it is too
    /// large, not encodable, or of a [group](crate::NamespaceBuilder::grouped), the key is invalidated, as for [`key`](Self::key). So the promise
    /// of a write is the same with and without a value.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::io;
    /// use tiercache::{Cache, CommitWith, Json};
    ///
    /// let cache = Cache::local_builder().connect()?;
    /// let users = cache.namespace::<u64, String, io::Error>("app:user:", Json).build()?;
    /// let renamed = users.put(&7, &"Grace".to_owned());
    /// cache
    ///     .write(async move |write| {
    ///         // BEGIN; UPDATE …: the row is locked.
    ///         let transaction = CommitWith(async || Ok::<(), io::Error>(()));
    ///         write.fence(transaction, [renamed]).await.commit().await
    ///     })
    ///     .await?;
    /// # Ok(()) }
    /// ```
    pub fn put(&self, key: &K, value: &V) -> Key {
        let config = &self.0.config;
        let is_stored = config.is_shared && !config.ttl.is_zero() && self.1.0.is_none();
        let stored = is_stored
            .then(|| with_name(key, |name| self.0.to_store(name, value)))
            .flatten();
        let mut key = self.key(key);
        key.value = stored;
        key
    }
}
