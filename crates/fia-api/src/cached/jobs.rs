//! The cached reads of jobs: pages of lists, and counts. Writes of jobs invalidate them by their
//! groups (see [`JobGroups`]).

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::RawValue;
use tiercache::{Cache, ConfigError, NamespaceBuilder};

use crate::cached::operate::FromRest;
use crate::cached::payload::{field, wrap};
use crate::cached::{
    Bodies, Body, CacheError, Cached, CachedResult, Freshness, JobGroups, KeyStatistics, Read,
    ReadFacts, bodies,
};
use crate::config;
use crate::model::json::{compact, render};
use crate::model::{InstrumentName, JobList, Selection};
use crate::store::StoreError;
use crate::store::jobs::{Listing, Viewer, count, page};

/// The rest of the keys: a digest of the request.
const DIGEST: &str = "{digest}";

/// The namespaces of entries about jobs.
pub(super) struct JobCaches {
    lists: Bodies<JobKey>,
    lists_of_instruments: Bodies<JobKey>,
    counts: Bodies<JobKey>,
    counts_of_instruments: Bodies<JobKey>,
    // Local only: the older server stores other bodies under these keys.
    unshared_lists: Bodies<JobKey>,
    unshared_counts: Bodies<JobKey>,
}

/// The key of a list or count: the digest of its request.
pub(super) struct JobKey {
    digest: String,
    /// The instrument whose jobs it covers; `None` for all.
    instrument: Option<InstrumentName>,
}

impl FromRest for JobKey {
    type Owned = Self;

    /// A key without its group, with which it can be inspected and invalidated, but not read.
    fn from_rest(rest: &str) -> Option<Self> {
        Some(Self {
            digest: rest.to_owned(),
            instrument: None,
        })
    }
}

impl fmt::Display for JobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.digest)
    }
}

/// Makes the entries of a namespace invalid with their groups.
fn grouped(
    namespace: NamespaceBuilder<JobKey, Body, CacheError>,
    groups: &JobGroups,
) -> NamespaceBuilder<JobKey, Body, CacheError> {
    let Some(groups) = groups.groups() else {
        return namespace;
    };
    namespace.grouped(groups, |key| JobGroups::name(key.instrument.as_ref()))
}

impl JobCaches {
    pub(super) fn new(
        cache: &Cache,
        config: &config::Cache,
        groups: &JobGroups,
        keys: Option<&Arc<KeyStatistics>>,
    ) -> Result<Self, ConfigError> {
        let (ttl, max_stale) = (&config.ttl, config.max_stale);
        let lists = |name, prefix| {
            let facts = ReadFacts::new((name, prefix, DIGEST), (ttl.job_list, max_stale), keys);
            let namespace = bodies(cache, prefix, max_stale, read_list, Bytes::clone);
            let namespace = grouped(namespace, groups).name(name).ttl(ttl.job_list);
            let namespace = namespace.ttl_of(Body::remaining);
            (namespace.max_payload(Body::MAX_CACHED), facts)
        };
        let counts = |name, prefix| {
            let facts = ReadFacts::new((name, prefix, DIGEST), (ttl.job_count, max_stale), keys);
            let namespace = bodies(cache, prefix, max_stale, read_count, Bytes::clone);
            let namespace = grouped(namespace, groups).name(name).ttl(ttl.job_count);
            (namespace, facts)
        };
        let of_instruments = "fia_api:jobs:list:instrument:";
        let counts_of_instruments = "fia_api:jobs:count:instrument:";
        Ok(Self {
            lists: shared(lists("job_list", "fia_api:jobs:list:all:"))?,
            lists_of_instruments: shared(lists("instrument_job_list", of_instruments))?,
            counts: shared(counts("job_count", "fia_api:jobs:count:all:"))?,
            counts_of_instruments: shared(counts("instrument_job_count", counts_of_instruments))?,
            unshared_lists: unshared(lists("unshared_job_list", "unshared:list:"))?,
            unshared_counts: unshared(counts("unshared_job_count", "unshared:count:"))?,
        })
    }

    /// All of them.
    pub(super) fn reads(&self) -> impl Iterator<Item = &Bodies<JobKey>> {
        [
            &self.lists,
            &self.lists_of_instruments,
            &self.counts,
            &self.counts_of_instruments,
            &self.unshared_lists,
            &self.unshared_counts,
        ]
        .into_iter()
    }

    fn of_list(&self, list: &JobList) -> &Bodies<JobKey> {
        match (list.is_shared(), &list.selection.instrument) {
            (false, _) => &self.unshared_lists,
            (true, None) => &self.lists,
            (true, Some(_)) => &self.lists_of_instruments,
        }
    }

    fn of_count(&self, selection: &Selection) -> &Bodies<JobKey> {
        match (selection.is_shared(), &selection.instrument) {
            (false, _) => &self.unshared_counts,
            (true, None) => &self.counts,
            (true, Some(_)) => &self.counts_of_instruments,
        }
    }
}

/// A namespace that is not built yet, and its declaration.
type Declared = (NamespaceBuilder<JobKey, Body, CacheError>, ReadFacts);

fn shared((namespace, facts): Declared) -> Result<Bodies<JobKey>, ConfigError> {
    Ok(Read::new(namespace.build()?, facts, Body::len))
}

fn unshared((namespace, facts): Declared) -> Result<Bodies<JobKey>, ConfigError> {
    let namespace = namespace.unshared().build()?;
    Ok(Read::new(namespace, facts.unshared(), Body::len))
}

impl Cached {
    /// A page of a list of jobs: a JSON array.
    ///
    /// # Errors
    /// [`CacheError::BadFilter`] for a filter that PostgreSQL cannot parse; otherwise when neither
    /// the cache nor the database has it, or the user's experiments are unavailable.
    pub async fn job_list(&self, list: JobList, freshness: Freshness) -> CachedResult {
        let namespace = self.jobs.of_list(&list);
        let key = JobKey {
            digest: list.digest(),
            instrument: list.selection.instrument.clone(),
        };
        let freshness = match list.user_number {
            // It depends on who may see it.
            Some(_) => freshness.max(Freshness::WithinTtl),
            None => freshness,
        };
        let (db, experiments) = (self.db.clone(), self.experiments.clone());
        let load = async move || {
            let Some(user_number) = list.user_number else {
                let page = page(&db, &list, None).await;
                return Ok(Body::new(page.map_err(of_filters)?));
            };
            // Access that was revoked ends with the TTL of the experiments, and the list with it.
            let (viewer, valid_until) = experiments.viewer(user_number).await?;
            let page = page(&db, &list, Some(&viewer)).await;
            Ok(Body::new(page.map_err(of_filters)?).valid_until(valid_until))
        };
        self.read(namespace, ("job_list", &key), freshness, load)
            .await
    }

    /// A list that may be too long to be held in memory; it is streamed and not cached.
    ///
    /// # Errors
    /// As [`Cached::job_list`], and [`CacheError::Unavailable`] where too many such lists are
    /// being streamed.
    pub async fn long_job_list(&self, list: &JobList) -> Result<Listing, CacheError> {
        let viewer: Option<Viewer> = match list.user_number {
            Some(user_number) => Some(self.experiments.viewer(user_number).await?.0),
            None => None,
        };
        Listing::open(&self.db, list, viewer.as_ref())
            .await
            .map_err(of_filters)
    }

    /// The number of jobs: `{"count":…}`.
    ///
    /// # Errors
    /// [`CacheError::BadFilter`] for a filter that PostgreSQL cannot parse; otherwise when neither
    /// the cache nor the database has it.
    pub async fn job_count(&self, selection: Selection, freshness: Freshness) -> CachedResult {
        let namespace = self.jobs.of_count(&selection);
        let key = JobKey {
            digest: selection.digest(),
            instrument: selection.instrument.clone(),
        };
        let db = self.db.clone();
        let load = async move || {
            let count = count(&db, &selection).await.map_err(of_filters)?;
            Ok(Body::new(count_body(count)))
        };
        self.read(namespace, ("job_count", &key), freshness, load)
            .await
    }
}

/// Clients supply only the values of filters to these statements.
fn of_filters(error: StoreError) -> CacheError {
    match error {
        StoreError::BadValue(_) => CacheError::BadFilter,
        other => other.into(),
    }
}

fn count_body(count: i64) -> Bytes {
    wrap("count", &render(&count))
}

/// A list of objects.
fn read_list(payload: &Bytes) -> Option<Bytes> {
    let items: Vec<&RawValue> = serde_json::from_slice(payload).ok()?;
    let are_objects = items.iter().all(|item| item.get().starts_with('{'));
    are_objects.then_some(())?;
    compact(payload, serde_json::from_slice(payload).ok()?)
}

fn read_count(payload: &Bytes) -> Option<Bytes> {
    field(payload, "count")??.get().parse().ok().map(count_body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_of_peers_are_normalised_and_others_refused() {
        let body = |read: fn(&Bytes) -> Option<Bytes>, payload: &'static str| {
            read(&Bytes::from_static(payload.as_bytes()))
        };
        for (payload, expected) in [
            ("[]", Some("[]")),
            (
                r#"[{"id": 1, "title": "\u00fc", "inputs": {"a": 1e2}}]"#,
                Some(r#"[{"id":1,"title":"ü","inputs":{"a":100.0}}]"#),
            ),
            (r#"[{"id":1}]"#, Some(r#"[{"id":1}]"#)),
            ("{}", None),
            ("[1]", None),
            (r#"["a"]"#, None),
            ("[{]", None),
            ("null", None),
        ] {
            let expected = expected.map(Bytes::from);
            assert_eq!(body(read_list, payload), expected, "{payload}");
        }
        for (payload, expected) in [
            (r#"{"count": 5}"#, Some(r#"{"count":5}"#)),
            (r#"{"count":"5"}"#, None),
            (r#"{"count":5.5}"#, None),
            ("{}", None),
            ("[5]", None),
            ("5", None),
        ] {
            let expected = expected.map(Bytes::from);
            assert_eq!(body(read_count, payload), expected, "{payload}");
        }
    }
}
