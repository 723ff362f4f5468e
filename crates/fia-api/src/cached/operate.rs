//! What operators see of the cached reads, and may do with them.

use std::borrow::Borrow;
use std::fmt::Display;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tiercache::Inspection;

use crate::cached::key_statistics::KeyStatistics;
use crate::cached::read::Read;
use crate::cached::{Cached, ReadFacts};

/// A cached read, whatever its types.
trait AnyRead: Sync {
    fn facts(&self) -> &Arc<ReadFacts>;
    /// Invalidates the key with this rest; false if no key of the read has it.
    fn invalidate_rest<'a>(&'a self, rest: &'a str) -> BoxFuture<'a, bool>;
    fn invalidate_all(&self) -> BoxFuture<'_, ()>;
    fn inspect<'a>(&'a self, rest: &'a str) -> BoxFuture<'a, Option<Inspection>>;
}

/// A key that can be parsed from the rest of the text in Valkey.
pub(super) trait FromRest {
    /// The key as it is parsed.
    type Owned: Borrow<Self> + Send + Sync;

    /// The key; `None` if no key has this text.
    fn from_rest(rest: &str) -> Option<Self::Owned>;
}

impl FromRest for str {
    type Owned = String;

    fn from_rest(rest: &str) -> Option<String> {
        Some(rest.to_owned())
    }
}

impl FromRest for i32 {
    type Owned = Self;

    fn from_rest(rest: &str) -> Option<Self> {
        let number: Self = rest.parse().ok()?;
        (number.to_string() == rest).then_some(number)
    }
}

impl<K, V, E> AnyRead for Read<K, V, E>
where
    K: FromRest + Display + Sync + ?Sized,
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    fn facts(&self) -> &Arc<ReadFacts> {
        Read::facts(self)
    }

    fn invalidate_rest<'a>(&'a self, rest: &'a str) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let Some(key) = K::from_rest(rest) else {
                return false;
            };
            self.invalidate(key.borrow()).await;
            true
        })
    }

    fn invalidate_all(&self) -> BoxFuture<'_, ()> {
        Box::pin((**self).invalidate_all())
    }

    fn inspect<'a>(&'a self, rest: &'a str) -> BoxFuture<'a, Option<Inspection>> {
        Box::pin(async move {
            let key = K::from_rest(rest)?;
            Some((**self).inspect(key.borrow()).await)
        })
    }
}

impl Cached {
    fn all_reads(&self) -> Vec<&dyn AnyRead> {
        let mut reads: Vec<&dyn AnyRead> = Vec::new();
        reads.extend(self.instruments.reads().map(|read| read as &dyn AnyRead));
        reads.extend(self.jobs.reads().map(|read| read as &dyn AnyRead));
        reads.push(self.experiments.read());
        reads.push(self.runner_images.read());
        reads
    }

    /// The read of a key, and the rest of the key.
    fn read_of<'a>(&self, key: &'a str) -> Option<(&dyn AnyRead, &'a str)> {
        self.all_reads().into_iter().find_map(|read| {
            let facts = read.facts();
            let rest = key.strip_prefix(facts.prefix)?;
            (facts.rest.is_empty() == rest.is_empty()).then_some((read, rest))
        })
    }

    /// The cached reads.
    #[must_use]
    pub fn reads(&self) -> Vec<Arc<ReadFacts>> {
        let reads = self.all_reads().into_iter();
        reads.map(|read| Arc::clone(read.facts())).collect()
    }

    /// The state of a key in both levels; `None` if it is not a key of a cached read.
    pub async fn inspect(&self, key: &str) -> Option<Inspection> {
        let (read, rest) = self.read_of(key)?;
        read.inspect(rest).await
    }

    /// Invalidates a key, here and on the other replicas; with the key of a group all of its entries.
    /// Returns false if it is neither a key of a cached read nor of a group.
    pub async fn invalidate_key(&self, key: &str) -> bool {
        match self.read_of(key) {
            Some((read, rest)) => read.invalidate_rest(rest).await,
            None => self.job_groups.invalidate_key(key).await,
        }
    }

    /// Invalidates the lists and counts that a write of an instrument's job changes, here and on the other
    /// replicas; with `all` those of all instruments only. Returns false without a name or where
    /// groups are off.
    pub async fn invalidate_job_group(&self, instrument: &str) -> bool {
        if instrument.is_empty() || !self.job_groups.are_enabled() {
            return false;
        }
        if !instrument.eq_ignore_ascii_case("all") {
            self.job_groups.invalidate(instrument).await;
        }
        self.job_groups.invalidate_all_instruments().await;
        true
    }

    /// Invalidates all keys of the read of this name. Returns false if there is none.
    pub async fn invalidate_read(&self, name: &str) -> bool {
        let mut reads = self.all_reads().into_iter();
        let Some(read) = reads.find(|read| read.facts().name == name) else {
            return false;
        };
        read.invalidate_all().await;
        true
    }

    /// The statistics of keys; `None` unless they are enabled.
    #[must_use]
    pub fn key_statistics(&self) -> Option<&Arc<KeyStatistics>> {
        self.keys.as_ref()
    }
}
