//! The builder of a namespace.

use std::fmt::{self, Display};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::cache::Cache;
use crate::codec::Codec;
use crate::namespace::config::{Config, LocalPolicy, SHORTEST_TTL};
use crate::namespace::{Grouping, Namespace};
use crate::settings::ConfigError;
use crate::shared::{NewNamespace, Shared};

/// By default an early refresh becomes due in this last part of the TTL.
const REFRESH_WINDOW: Range<f64> = 0.05..0.20;
/// The TTL of a namespace that sets none.
const DEFAULT_TTL: Duration = Duration::from_secs(60);

/// Builds a [`Namespace`]; see [`Cache::namespace`].
#[must_use = "a builder does nothing until `build`"]
pub struct NamespaceBuilder<K: ?Sized, V, E> {
    shared: Arc<Shared>,
    config: Config<V, E>,
    local: LocalPolicy<V>,
    is_local: bool,
    /// The setting that was given a negative TTL longer than the TTL is checked at the end.
    negative_ttl: Option<Duration>,
    pub(crate) grouping: Grouping<K>,
}

impl Cache {
    /// A builder of a namespace: the keys with this prefix, each the prefix followed by the text
    /// of a `K`. A prefix usually ends in a colon. It may be a whole key, for a namespace that is
    /// only used with a `K` of empty text.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::io;
    /// use std::time::Duration;
    /// use tiercache::{Cache, Json};
    ///
    /// let cache = Cache::local_builder().memory(1 << 20).connect()?;
    /// let squares = cache
    ///     .namespace::<u64, u64, io::Error>("app:square:", Json)
    ///     .ttl(Duration::from_secs(60))
    ///     .unshared()
    ///     .build()?;
    /// assert_eq!(squares.get(&12, async || Ok(144)).await?, 144);
    /// # Ok(()) }
    /// ```
    pub fn namespace<K: ?Sized, V, E>(
        &self,
        prefix: impl Into<String>,
        codec: impl Codec<V>,
    ) -> NamespaceBuilder<K, V, E> {
        NamespaceBuilder::new(self, prefix.into(), Box::new(codec))
    }
}

impl<K: ?Sized, V, E> NamespaceBuilder<K, V, E> {
    fn new(cache: &Cache, prefix: String, codec: Box<dyn Codec<V>>) -> Self {
        Self {
            shared: Arc::clone(&cache.0),
            config: Config {
                name: prefix.trim_end_matches(':').into(),
                prefix,
                ttl: DEFAULT_TTL,
                ttl_of: None,
                ttl_jitter: 0.0,
                is_shared: true,
                local: None,
                codec,
                is_outage: Box::new(|_| false),
                max_payload: cache.0.settings.max_payload,
                load_timeout: None,
            },
            local: LocalPolicy {
                weight: None,
                max_stale: Duration::ZERO,
                stale_after: None,
                same: None,
                refresh_window: REFRESH_WINDOW,
            },
            is_local: true,
            negative_ttl: None,
            grouping: Grouping(None),
        }
    }

    /// Sets the name in statistics; the prefix without its final colon by default.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.config.name = name.into().into();
        self
    }

    /// Sets the TTL, exact to the millisecond; 60 s by default. Zero switches caching off:
    /// neither reads nor fills. A write still fences and invalidates, since other replicas may
    /// cache the key.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.config.ttl = ttl;
        self
    }

    /// Sets the TTL of values that depend on something which expires earlier: `None` for the
    /// namespace's TTL, which is also the longest. A value with less than a millisecond is
    /// returned but not kept.
    pub fn ttl_of(
        mut self,
        ttl_of: impl Fn(&V) -> Option<Duration> + Send + Sync + 'static,
    ) -> Self {
        self.config.ttl_of = Some(Box::new(ttl_of));
        self
    }

    /// Shortens each TTL by a random part of at most this fraction, so that entries that were
    /// stored together do not expire together; 0 by default.
    pub fn ttl_jitter(mut self, fraction: f64) -> Self {
        self.config.ttl_jitter = fraction;
        self
    }

    /// Stores entries in this process only.
    pub fn unshared(mut self) -> Self {
        self.config.is_shared = false;
        self
    }

    /// Stores entries in the shared level only.
    pub fn shared_only(mut self) -> Self {
        self.is_local = false;
        self
    }

    /// Sets the function for the approximate size of a value in memory, in bytes; the size of
    /// its payload by default, for which values may have to be encoded.
    pub fn weight(mut self, weight: impl Fn(&V) -> usize + Send + Sync + 'static) -> Self {
        self.local.weight = Some(Box::new(weight));
        self
    }

    /// Sets the loader's errors that mean that the origin is unavailable.
    ///
    /// Such an error is delivered to all waiters, also to those that enqueued during the load: a
    /// load of their own would only wait for the unavailable origin again. Reads may then be
    /// served with the last known value, for this long after its TTL has expired. Zero for never,
    /// which is right for anything that grants access.
    pub fn stale_if(
        mut self,
        is_outage: impl Fn(&E) -> bool + Send + Sync + 'static,
        max_stale: Duration,
    ) -> Self {
        self.config.is_outage = Box::new(is_outage);
        self.local.max_stale = max_stale;
        self
    }

    /// Serves the last known value, within the limit of [`stale_if`](Self::stale_if), if a load
    /// takes longer than this (a soft timeout). The load continues. By default a load is awaited,
    /// except for 200 ms only while the origin is known to be unavailable.
    pub fn stale_after(mut self, soft_timeout: Duration) -> Self {
        self.local.stale_after = Some(soft_timeout);
        self
    }

    /// Cancels a load after this time (a hard timeout), which must be within the lease; by default
    /// there is no limit.
    pub fn load_timeout(mut self, hard_timeout: Duration) -> Self {
        self.config.load_timeout = Some(hard_timeout);
        self
    }

    /// Compares a sample of local hits with the origin, for statistics. Use it where every change
    /// of a value is announced; elsewhere a difference is expected until the TTL expires.
    pub fn verify_with(mut self, same: impl Fn(&V, &V) -> bool + Send + Sync + 'static) -> Self {
        self.local.same = Some(Box::new(same));
        self
    }

    /// Sets the largest payload that is cached, in bytes, instead of the cache's limit. Larger
    /// values are returned but not kept.
    pub fn max_payload(mut self, bytes: usize) -> Self {
        self.config.max_payload = bytes;
        self
    }

    /// Sets the last part of the TTL, as fractions, in which the early refresh becomes due, at
    /// random, so that replicas do not refresh together; 0.05 to 0.2 by default.
    pub fn refresh_window(mut self, window: Range<f64>) -> Self {
        self.local.refresh_window = window;
        self
    }

    fn invalid(&self) -> Option<(&'static str, &'static str)> {
        let (config, local) = (&self.config, &self.local);
        let window = &local.refresh_window;
        let checks = [
            (
                config.prefix.is_empty(),
                "prefix",
                "must not be empty: all keys of the server would be tracked",
            ),
            (
                !config.ttl.is_zero() && config.ttl < SHORTEST_TTL,
                "ttl",
                "must be 0 (off) or at least 1 ms",
            ),
            (
                !(0.0..1.0).contains(&config.ttl_jitter),
                "ttl_jitter",
                "must be at least 0 and less than 1",
            ),
            (
                self.negative_ttl.is_some_and(|ttl| ttl > config.ttl),
                "negative_ttl",
                "must not be longer than the TTL",
            ),
            (
                !(0.0 <= window.start && window.start < window.end && window.end < 1.0),
                "refresh_window",
                "must be a range within 0 to 1",
            ),
            (
                config
                    .load_timeout
                    .is_some_and(|limit| limit.is_zero() || limit > self.shared.settings.lease),
                "load_timeout",
                "must be within the cache's lease, or no load of that length is stored",
            ),
            (
                !config.is_shared && !self.is_local,
                "shared_only",
                "excludes unshared: the namespace would store nothing",
            ),
        ];
        let failed = checks.into_iter().find(|(is_invalid, ..)| *is_invalid)?;
        Some((failed.1, failed.2))
    }

    /// Creates the namespace. Its prefix is tracked if it is both shared and local.
    ///
    /// Create namespaces at startup: the local cache is bypassed until a new prefix is tracked.
    /// Concurrent reads are coalesced within a namespace, so create one per prefix.
    ///
    /// # Errors
    /// [`ConfigError::Namespace`] names the setting that is invalid; [`ConfigError::Prefix`] if
    /// this and another namespace are tracked and one's prefix is a prefix of the other's.
    pub fn build(self) -> Result<Namespace<K, V, E>, ConfigError> {
        if let Some((name, reason)) = self.invalid() {
            return Err(ConfigError::Namespace {
                namespace: self.config.name.to_string(),
                name,
                reason,
            });
        }
        let mut config = self.config;
        config.local = self.is_local.then_some(self.local);
        let (id, counters) = self.shared.register(&NewNamespace {
            name: &config.name,
            prefix: &config.prefix,
            is_tracked: config.is_shared && config.local.is_some(),
            ttl: config.ttl,
        })?;
        let grouping = self.grouping;
        Ok(Namespace::new(config, id, self.shared, counters, grouping))
    }
}

impl<K: Display + ?Sized, T: 'static, E> NamespaceBuilder<K, Option<T>, E> {
    /// Sets the TTL of `None`, that is of "there is none"; the TTL of other values by default.
    pub fn negative_ttl(mut self, ttl: Duration) -> Self {
        self.negative_ttl = Some(ttl);
        self.config.ttl_of = Some(Box::new(move |value: &Option<T>| {
            value.is_none().then_some(ttl)
        }));
        self
    }
}

impl<K: ?Sized, V, E> fmt::Debug for NamespaceBuilder<K, V, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamespaceBuilder")
            .field("name", &self.config.name)
            .field("prefix", &self.config.prefix)
            .field("ttl", &self.config.ttl)
            .finish_non_exhaustive()
    }
}
