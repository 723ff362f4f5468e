//! The groups of cached lists and counts of jobs, and the writes that invalidate them.
//!
//! A write of a job cannot name the entries that show it: their keys are digests of requests. But
//! each list and count of an instrument belongs to the group of that instrument, and each of all
//! instruments to the group `all`. A write of a listed job invalidates both, fleet-wide, in the
//! transaction that changes it.

use tiercache::{Cache, ConfigError, Failure, Groups, Key, Transaction, Write};

use crate::config;
use crate::model::InstrumentName;
use crate::store::StoreError;

/// The prefix of the groups' keys.
const PREFIX: &str = "fia_api:jobs:group:";
/// The group of the lists and counts of all instruments.
const ALL: &str = "all";

/// The groups; cheap to clone.
#[derive(Clone)]
pub struct JobGroups {
    cache: Cache,
    /// `None` where `JOB_GROUPS` is off: a change becomes visible when the TTL expires, as in the
    /// older server.
    groups: Option<Groups>,
}

impl JobGroups {
    pub(super) fn new(cache: &Cache, config: &config::Cache) -> Result<Self, ConfigError> {
        let groups = || cache.groups("job_groups", PREFIX);
        Ok(Self {
            cache: cache.clone(),
            groups: config.job_groups.then(groups).transpose()?,
        })
    }

    /// Whether a write of a job invalidates the lists and counts that show it.
    #[must_use]
    pub fn are_enabled(&self) -> bool {
        self.groups.is_some()
    }

    pub(super) fn groups(&self) -> Option<&Groups> {
        self.groups.as_ref()
    }

    /// The name of the group of an instrument's lists and counts, or of those of all instruments.
    pub(super) fn name(instrument: Option<&InstrumentName>) -> String {
        instrument.map_or_else(|| ALL.to_owned(), |name| of_instrument(name.as_str()))
    }

    /// Commits a transaction that has changed a job, and invalidates the lists and counts that
    /// show the job: no older one is served once this returns. `instrument` is that of the job's
    /// run; no list shows a job without a run.
    ///
    /// Dropping the future does not interrupt the work.
    ///
    /// # Errors
    /// When the database fails; the change may have been committed.
    pub async fn commit<T>(
        &self,
        transaction: T,
        instrument: Option<&str>,
    ) -> Result<(), StoreError>
    where
        T: Transaction<Error = StoreError> + Send + 'static,
    {
        let keys = instrument.map_or_else(Vec::new, |name| self.keys(name));
        let work = async move |write: Write| write.fence(transaction, keys).await.commit().await;
        self.cache
            .write(work)
            .await
            .map_err(|failure| match failure {
                Failure::Failed(error) => error,
                _ => {
                    tracing::error!("commit failed: outcome of the transaction unknown");
                    StoreError::Unavailable("commit interrupted".into())
                }
            })
    }

    /// Invalidates the group with this key; false if it is not one of a group.
    pub(super) async fn invalidate_key(&self, key: &str) -> bool {
        match (&self.groups, key.strip_prefix(PREFIX)) {
            (Some(groups), Some(name)) => {
                groups.invalidate(name).await;
                true
            }
            _ => false,
        }
    }

    fn keys(&self, instrument: &str) -> Vec<Key> {
        let names = [ALL.to_owned(), of_instrument(instrument)];
        let groups = self.groups.iter();
        groups
            .flat_map(|groups| names.iter().map(|name| groups.key(name)))
            .collect()
    }

    /// Invalidates the lists and counts that show jobs of an instrument, after a change by another
    /// client.
    pub(super) async fn invalidate(&self, instrument: &str) {
        if let Some(groups) = &self.groups {
            groups.invalidate(&of_instrument(instrument)).await;
        }
    }

    /// Invalidates the lists and counts of all instruments.
    pub(super) async fn invalidate_all_instruments(&self) {
        if let Some(groups) = &self.groups {
            groups.invalidate(ALL).await;
        }
    }

    /// Invalidates every list and count.
    pub(super) async fn invalidate_every(&self) {
        if let Some(groups) = &self.groups {
            groups.invalidate_all().await;
        }
    }
}

/// Names in keys are in upper case.
fn of_instrument(name: &str) -> String {
    format!("instrument:{}", name.to_uppercase())
}
