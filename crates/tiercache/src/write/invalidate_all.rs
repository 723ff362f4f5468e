//! The invalidation of all keys of a namespace.
//!
//! The keys are found by SCAN, which returns every key that exists during the whole iteration.
//! A value or a lease from before the iteration is thus found, unless it is gone by then. What
//! replaces it was loaded after the call.

use std::fmt::Display;
use std::sync::{Arc, Weak};

use futures_util::{StreamExt, stream};

use crate::connection::{CommandError, Connection};
use crate::event::Event;
use crate::namespace::Namespace;
use crate::seams::{self, Instant, mutant, sleep};
use crate::shared::Shared;

/// The most invalidations in flight.
const PIPELINE: usize = 256;

impl<K, V, E> Namespace<K, V, E>
where
    K: Display + ?Sized,
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    /// Invalidates all values of the namespace, after a change that was made elsewhere. Once it
    /// returns, no value from before the call is served.
    ///
    /// Visits every key of the server, so it takes a second for each million or so. If the shared
    /// level is unavailable or fails, the work is continued in the background, and until it is
    /// complete this replica bypasses the shared level for the namespace. It is repeated if a
    /// connection to Valkey is lost within [`replication_lag`](crate::CacheBuilder::replication_lag),
    /// or a slot of a cluster has another node, since a promoted replica may lack it.
    pub async fn invalidate_all(&self) {
        let namespace = Arc::clone(&self.0);
        let work = seams::spawn(async move {
            let prefix = Arc::from(&*namespace.config.prefix);
            let shared = &namespace.shared;
            shared.invalidate_prefix(&prefix).await;
            if let Some(store) = &shared.local {
                store.remove_all(namespace.id);
            }
        });
        // Fails only when the runtime shuts down.
        let _ = work.await;
    }
}

impl Shared {
    /// Invalidates the keys with a prefix, or starts a task that will.
    async fn invalidate_prefix(self: &Arc<Self>, prefix: &Arc<str>) {
        self.bypassed.add(prefix);
        self.write_versions.bump_all();
        let losses = self.losses();
        match self.invalidate_found(prefix).await {
            Ok(()) => self.completed(prefix, losses),
            Err(error) => {
                tracing::warn!(
                    prefix = &**prefix,
                    ?error,
                    "invalidation of a namespace not complete: its keys bypass Valkey; retrying"
                );
                let event = Event::InvalidationQueued { key: prefix };
                self.settings.events.emit(event);
                seams::spawn(retry(Arc::downgrade(self), Arc::clone(prefix)));
            }
        }
        // As for a single key: reads that began before may be stale.
        self.write_versions.bump_all();
        self.coherence.all_changed();
    }

    /// An invalidation is complete, which began after so many losses of a connection.
    fn completed(self: &Arc<Self>, prefix: &Arc<str>, losses: u64) {
        mutant!(AllNotRepeated => return self.bypassed.remove(prefix));
        if !self.has_shared_level() {
            return self.bypassed.remove(prefix);
        }
        self.bypassed.complete(prefix, losses);
        seams::spawn(repeat(Arc::downgrade(self), Arc::clone(prefix), losses));
    }

    async fn invalidate_found(&self, prefix: &str) -> Result<(), CommandError> {
        if !self.has_shared_level() {
            return Ok(());
        }
        let losses = self.losses();
        for connection in self.connections().ok_or(CommandError::CircuitOpen)? {
            self.invalidate_found_on(&connection, prefix).await?;
        }
        // A key that has moved from one server to another may have been missed.
        self.learn_slots().await?;
        let is_complete = self.connections().is_some() && self.losses() == losses;
        is_complete.then_some(()).ok_or(CommandError::CircuitOpen)
    }

    async fn invalidate_found_on(
        &self,
        connection: &Connection,
        prefix: &str,
    ) -> Result<(), CommandError> {
        let limit = self.settings.write_timeout;
        let mut cursor = b"0".to_vec();
        loop {
            let (next, keys) = connection.scan(&cursor, prefix, limit).await?;
            self.invalidate_each(connection, keys).await?;
            if next == b"0" {
                return Ok(());
            }
            cursor = next;
        }
    }

    async fn invalidate_each(
        &self,
        connection: &Connection,
        keys: Vec<String>,
    ) -> Result<(), CommandError> {
        let limit = self.settings.write_timeout;
        let mut replies = stream::iter(keys)
            .map(async |key| connection.invalidate(&key, None, limit).await)
            .buffer_unordered(PIPELINE);
        while let Some(reply) = replies.next().await {
            reply?;
        }
        Ok(())
    }
}

/// Retries until the invalidation is complete, or until every value from before has expired.
async fn retry(shared: Weak<Shared>, prefix: Arc<str>) {
    let Some(until) = shared
        .upgrade()
        .map(|shared| Instant::now() + shared.longest_lifetime())
    else {
        return;
    };
    while let Some(pause) = shared.upgrade().map(|shared| shared.settings.heartbeat) {
        sleep(pause).await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let losses = shared.losses();
        if shared.invalidate_found(&prefix).await.is_ok() {
            return shared.completed(&prefix, losses);
        }
        if Instant::now() >= until {
            return shared.bypassed.remove(&prefix);
        }
    }
}

/// Repeats a complete invalidation if a connection is lost soon after it: a replica that was
/// promoted may lack it. From the loss until then the prefix is bypassed.
async fn repeat(shared: Weak<Shared>, prefix: Arc<str>, mut losses: u64) {
    let Some(window) = shared.upgrade().map(|shared| shared.pending.window()) else {
        return;
    };
    let mut until = Instant::now() + window;
    while let Some(pause) = shared.upgrade().map(|shared| shared.settings.heartbeat) {
        sleep(pause).await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let (before, now) = (losses, shared.losses());
        let end = match now == before {
            true => until,
            false if shared.invalidate_found(&prefix).await.is_ok() => {
                (losses, until) = (now, Instant::now() + window);
                shared.bypassed.repeated(&prefix, before, Some(now));
                continue;
            }
            // Every value from before has expired.
            false => until + shared.longest_lifetime(),
        };
        if Instant::now() >= end {
            return shared.bypassed.repeated(&prefix, before, None);
        }
    }
}
