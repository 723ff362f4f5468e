//! Settings of the cache.

use std::time::Duration;

use secrecy::SecretString;

use crate::model::CachedColumn;

use super::macros::settings;
use super::reader::{Reader, Variable};

/// The section of the TTL settings.
pub(super) const TTL_SECTION: &str = "Cache TTLs";

settings! {
    /// The cache.
    "Cache"
    pub struct Cache {
        /// Whether Valkey is used as a cache.
        pub shared: bool = flag("CACHE_SHARED", true);
        /// URL of Valkey, which also holds the live logs, as redis-py reads it, or that of a service of
        /// Sentinel, or of a cluster; empty = none.
        pub valkey_url: Option<SecretString> = valkey_url("VALKEY_URL", "redis://valkey.valkey.svc.cluster.local:6379/0");
        /// The number of Valkey's replicas that must have a write's fence before COMMIT, for at most 50 ms; 0 = a
        /// write does not wait for replicas.
        pub wait_replicas: u32 = number("CACHE_WAIT_REPLICAS", 0);
        /// Whether responses are also cached in this process.
        pub local: bool = flag("CACHE_LOCAL", true);
        /// Size limit of the cache in this process, in bytes.
        pub local_max_bytes: u64 = number("CACHE_LOCAL_MAX_BYTES", 67_108_864);
        /// Seconds past its TTL that a response may be served while PostgreSQL is unavailable. An
        /// unresponsive PostgreSQL is detected within 4 s.
        pub max_stale: Duration = seconds("CACHE_MAX_STALE_SECONDS", 300);
        /// Whether keys are verified after a write, for late fills by older replicas.
        pub migration_guard: bool = flag("CACHE_MIGRATION_GUARD", false);
        /// Whether a write of a job invalidates the cached lists and counts that show it; otherwise
        /// they show it when their TTL expires.
        pub job_groups: bool = flag("JOB_GROUPS", true);
        nested ttl: Ttls = "The TTL of each cached read.";
    }
}

settings! {
    /// The TTL of each cached read; zero disables its cache.
    "Cache TTLs"
    pub struct Ttls {
        /// TTL of the list of live-data instruments in seconds; 0 = not cached.
        pub live_data_instruments: Duration = ttl("LIVE_DATA_INSTRUMENTS_CACHE_TTL_SECONDS", 120);
        /// TTL of job list pages in seconds; 0 = not cached.
        pub job_list: Duration = ttl("JOB_LIST_CACHE_TTL_SECONDS", 15);
        /// TTL of job counts in seconds; 0 = not cached.
        pub job_count: Duration = ttl("JOB_COUNT_CACHE_TTL_SECONDS", 15);
        /// TTL of a user's experiments in seconds; 0 = not cached.
        pub experiments: Duration = ttl("AUTH_EXPERIMENTS_CACHE_TTL_SECONDS", 120);
        /// TTL of the runner images in seconds; 0 = not cached.
        pub packages: Duration = ttl("GITHUB_PACKAGES_CACHE_TTL_SECONDS", 300);
        nested columns: ColumnTtls = "The TTLs of the cached columns of instruments.";
    }
}

/// The TTL of each [`CachedColumn`], as its declaration names it.
#[derive(Debug, Clone)]
pub struct ColumnTtls([Duration; CachedColumn::ALL.len()]);

impl ColumnTtls {
    fn read(reader: &mut Reader<'_>) -> Self {
        Self(CachedColumn::ALL.map(|column| {
            let setting = &column.declaration().ttl;
            let variable = Variable {
                section: TTL_SECTION,
                name: setting.variable,
                help: setting.help,
            };
            reader.ttl(variable, setting.default_seconds)
        }))
    }

    /// The TTL of a column.
    #[must_use]
    pub fn of(&self, column: CachedColumn) -> Duration {
        let Self(ttls) = self;
        ttls.get(column as usize).copied().unwrap_or_default()
    }
}
