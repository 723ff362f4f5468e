//! The freshness that a caller needs: who may be served a stale value, and when the cache is
//! bypassed.

use std::fmt::Display;
use std::sync::atomic::Ordering;

use futures_util::future::BoxFuture;

use crate::cached::traces::{lookup, lookup_current};
use crate::cached::{Bodies, Body, CacheError, Cached, CachedResponse, CachedResult, cause};
use crate::store::Reachability;

/// The freshness that a caller needs; the later ones are stricter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Freshness {
    /// For people: while the origin is unavailable, the last known value, marked stale.
    FailSafe,
    /// For whatever depends on who may see it: nothing past its TTL.
    WithinTtl,
    /// For programs, which act on what they read: nothing past its TTL, and from the cache only
    /// while PostgreSQL is known to be reachable.
    Verified,
}

/// The reason why the cache was bypassed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bypass {
    /// PostgreSQL was not reached within the last 2 s, and the caller needs [`Freshness::Verified`].
    DatabaseUnreachable,
}

/// The loader of a read.
type Load = Box<dyn FnOnce() -> BoxFuture<'static, Result<Body, CacheError>> + Send>;

impl Cached {
    /// The probe of PostgreSQL.
    #[must_use]
    pub fn reachability(&self) -> &Reachability {
        &self.reachability
    }

    /// Whether a caller who needs this freshness may be served from the cache.
    #[must_use]
    pub fn is_usable_for(&self, freshness: Freshness) -> bool {
        freshness < Freshness::Verified || self.reachability.is_reachable()
    }

    /// The number of reads that bypassed the cache.
    #[must_use]
    pub fn bypasses(&self) -> u64 {
        self.bypasses.load(Ordering::Relaxed)
    }

    /// Reads through the cache, or past it where it may not be used for the caller.
    pub(super) fn read<K, F, Fut>(
        &self,
        namespace: &Bodies<K>,
        (read, name): (&'static str, &K),
        freshness: Freshness,
        load: F,
    ) -> impl Future<Output = CachedResult> + Send
    where
        K: Display + Sync + ?Sized,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Body, CacheError>> + Send + 'static,
    {
        // Boxed, so that the layers of a read move a pointer, and are compiled once.
        let load: Load = Box::new(move || Box::pin(load()));
        self.read_boxed(namespace, (read, name), freshness, load)
    }

    async fn read_boxed<K>(
        &self,
        namespace: &Bodies<K>,
        (read, name): (&'static str, &K),
        freshness: Freshness,
        load: Load,
    ) -> CachedResult
    where
        K: Display + Sync + ?Sized,
    {
        if !self.is_usable_for(freshness) {
            self.bypasses.fetch_add(1, Ordering::Relaxed);
            let body = load().await?;
            return Ok(CachedResponse::bypassing(body, Bypass::DatabaseUnreachable));
        }
        let found = match freshness {
            Freshness::FailSafe => lookup(namespace, (read, name), load).await,
            Freshness::WithinTtl | Freshness::Verified => {
                lookup_current(namespace, (read, name), load).await
            }
        };
        Ok(CachedResponse::new(namespace, name, found.map_err(cause)?))
    }
}
