//! The metrics of the cache.

use std::sync::Arc;

use metrics::{Unit, counter, gauge};
use tiercache::{CacheStats, NamespaceStats, SharedLevel, Tracking};

use crate::app::metrics::family::Family;

/// A counter of a cache namespace: name, HELP, further label, value.
type NamespaceCounter = (
    &'static str,
    &'static str,
    Option<(&'static str, &'static str)>,
    fn(&NamespaceStats) -> u64,
);

/// Counters of one name are adjacent, and the first of them has the HELP text.
const NAMESPACE_COUNTERS: [NamespaceCounter; 29] = [
    ("fia_api_cache_requests_total", "Cached reads.", None, |c| {
        c.requests
    }),
    (
        HITS,
        "Cached reads served from the local cache (local) or Valkey (shared).",
        Some(("level", "local")),
        |c| c.local_hits,
    ),
    (HITS, "", Some(("level", "shared")), |c| c.hits),
    (
        "fia_api_cache_misses_total",
        "Cached reads that neither the local cache nor Valkey served; slightly overcounted under load.",
        None,
        misses,
    ),
    (
        "fia_api_cache_stale_served_total",
        "Cached reads served past their TTL because the origin was unavailable.",
        None,
        |c| c.stale,
    ),
    (
        "fia_api_cache_joins_total",
        "Cached reads that waited for another fetch of the same key.",
        None,
        |c| c.queued,
    ),
    (
        "fia_api_cache_fetches_total",
        "Fetches beyond the local cache, each for all of its waiters.",
        None,
        |c| c.fetches,
    ),
    ("fia_api_cache_loads_total", "Loader calls.", None, |c| {
        c.loads
    }),
    (
        "fia_api_cache_load_failures_total",
        "Loader calls that failed.",
        None,
        |c| c.load_failures,
    ),
    (
        "fia_api_cache_fills_total",
        "Loaded values stored in Valkey.",
        None,
        |c| c.fills,
    ),
    (
        UNCACHED,
        "Loaded values not stored: their payload was too large, or could not be encoded.",
        Some(("reason", "too_large")),
        |c| c.oversized,
    ),
    (UNCACHED, "", Some(("reason", "not_encoded")), |c| {
        c.encode_failures
    }),
    (
        CONFLICTS,
        "Fills refused because the key had changed; fetches that met another replica's lease; fetches that met a write fence.",
        Some(("kind", "fill_refused")),
        |c| c.fills_refused,
    ),
    (CONFLICTS, "", Some(("kind", "lease")), |c| c.leases_met),
    (CONFLICTS, "", Some(("kind", "fence")), |c| c.fences_met),
    (
        BYPASSES,
        "Fetches that bypassed Valkey: it was unavailable, or an invalidation of the key or its group was pending.",
        Some(("reason", "unavailable")),
        |c| c.bypassed_unavailable,
    ),
    (
        BYPASSES,
        "",
        Some(("reason", "pending_invalidation")),
        |c| c.bypassed_pending,
    ),
    (
        "fia_api_cache_refreshes_total",
        "Early refreshes: values reloaded before their TTL expired.",
        None,
        |c| c.refreshes,
    ),
    (
        "fia_api_cache_refreshes_refused_total",
        "Early refreshes that Valkey refused to store.",
        None,
        |c| c.refreshes_refused,
    ),
    (
        "fia_api_cache_rejected_entries_total",
        "Entries in Valkey with an unusable payload.",
        None,
        |c| c.rejected,
    ),
    (
        "fia_api_cache_outdated_entries_total",
        "Entries in Valkey that were not current: a job had changed since (lists and counts), or a legacy replica had stored them.",
        None,
        |c| c.outdated,
    ),
    (
        "fia_api_cache_samples_total",
        "Local cache hits compared with the database.",
        None,
        |c| c.samples,
    ),
    (
        "fia_api_cache_samples_stale_total",
        "Compared local cache hits that were stale; 0 in normal operation.",
        None,
        |c| c.samples_stale,
    ),
    (
        "fia_api_cache_guarded_total",
        "Older values found in Valkey after a write and invalidated.",
        None,
        |c| c.stale_after_write,
    ),
    (
        "fia_api_cache_writes_total",
        "Writes of cached values.",
        None,
        |c| c.writes,
    ),
    (
        "fia_api_cache_puts_total",
        "Values stored in Valkey by the writes that committed them.",
        None,
        |c| c.puts,
    ),
    (
        "fia_api_cache_fences_lost_total",
        "Writes whose fence Valkey did not acknowledge.",
        None,
        |c| c.fences_unconfirmed,
    ),
    (
        "fia_api_cache_fences_unreplicated_total",
        "Writes whose fence did not reach CACHE_WAIT_REPLICAS replicas of Valkey in time.",
        None,
        |c| c.fences_unreplicated,
    ),
    (
        "fia_api_cache_invalidations_lost_total",
        "Invalidations that Valkey did not confirm at once; they are retried.",
        None,
        |c| c.invalidations_queued,
    ),
];

const HITS: &str = "fia_api_cache_hits_total";
const UNCACHED: &str = "fia_api_cache_uncached_total";
const CONFLICTS: &str = "fia_api_cache_conflicts_total";
const BYPASSES: &str = "fia_api_cache_bypasses_total";

const SHARED_UP: &str = "fia_api_cache_shared_up";
const TRACKING_UP: &str = "fia_api_cache_tracking_up";
const TRACKING_AGE: &str = "fia_api_cache_tracking_age_seconds";
const LOCAL_BYTES: &str = "fia_api_cache_local_bytes";
const LOCAL_ENTRIES: &str = "fia_api_cache_local_entries";
const BREAKER_OPENINGS: &str = "fia_api_cache_breaker_openings_total";
const PENDING: &str = "fia_api_cache_pending_invalidations";

/// Name, unit and HELP of the gauges.
const GAUGES: [(&str, Unit, &str); 6] = [
    (
        SHARED_UP,
        Unit::Count,
        "Whether Valkey is in use as a cache; absent where it is switched off.",
    ),
    (
        TRACKING_UP,
        Unit::Count,
        "Whether client tracking is connected, so that the local cache is used; absent where it is switched off.",
    ),
    (
        TRACKING_AGE,
        Unit::Seconds,
        "Time since client tracking connected; 0 while it is not.",
    ),
    (LOCAL_BYTES, Unit::Bytes, "Size of the local cache."),
    (LOCAL_ENTRIES, Unit::Count, "Entries of the local cache."),
    (
        PENDING,
        Unit::Count,
        "Keys and whole classes whose invalidation is queued until Valkey is available.",
    ),
];

/// All families of the cache.
pub(super) fn families() -> Vec<Family> {
    let described = NAMESPACE_COUNTERS
        .iter()
        .filter(|(_, help, ..)| !help.is_empty());
    let counters = described.map(|(name, help, label, _)| {
        let labels: &[&str] = match label {
            None => &["class"],
            Some(("level", _)) => &["class", "level"],
            Some(("kind", _)) => &["class", "kind"],
            Some(_) => &["class", "reason"],
        };
        Family::counter(name, labels, help)
    });
    let gauges = GAUGES.map(|(name, unit, help)| Family::gauge(name, &[], unit, help));
    let openings = Family::counter(
        BREAKER_OPENINGS,
        &[],
        "Openings of the circuit breaker in front of Valkey.",
    );
    counters.chain(gauges).chain([openings]).collect()
}

/// Collects all values.
pub(super) fn collect(cache: &CacheStats) {
    for stats in &cache.namespaces {
        for (name, _, label, value) in NAMESPACE_COUNTERS {
            let counter = match label {
                None => counter!(name, "class" => Arc::clone(&stats.name)),
                Some((key, label)) => {
                    counter!(name, "class" => Arc::clone(&stats.name), key => label)
                }
            };
            counter.absolute(value(stats));
        }
    }
    match cache.shared_level {
        SharedLevel::Off => {}
        SharedLevel::Up => gauge!(SHARED_UP).set(1),
        SharedLevel::Down => gauge!(SHARED_UP).set(0),
    }
    let (up, age) = match cache.tracking {
        Tracking::Off => (None, 0.0),
        Tracking::Up(age) => (Some(1), age.as_secs_f64()),
        Tracking::Down => (Some(0), 0.0),
    };
    if let Some(up) = up {
        gauge!(TRACKING_UP).set(up);
        gauge!(TRACKING_AGE).set(age);
    }
    gauge!(LOCAL_BYTES).set(cache.local_bytes as f64);
    gauge!(LOCAL_ENTRIES).set(cache.local_entries as f64);
    counter!(BREAKER_OPENINGS).absolute(cache.breaker_openings);
    gauge!(PENDING).set(cache.pending_invalidations as f64);
}

/// An upper bound: the counters are not read atomically, so that requests in flight count as
/// misses, and as a counter never decreases, some of these stay.
fn misses(stats: &NamespaceStats) -> u64 {
    let served = stats.local_hits + stats.hits + stats.stale;
    stats.requests.saturating_sub(served)
}
