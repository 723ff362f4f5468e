//! What the cache counts.

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
use tiercache::{ClassStats, SharedLevel, Snapshot, Tracking};

/// Counters of a class of cache entries: name, meaning, further label, value.
type OfClass = (
    &'static str,
    &'static str,
    Option<(&'static str, &'static str)>,
    fn(&ClassStats) -> u64,
);

/// Those that share a name share its meaning, and stand together.
const OF_CLASSES: [OfClass; 24] = [
    ("fia_api_cache_requests_total", "Cached reads.", None, |c| {
        c.requests
    }),
    (
        HITS,
        "Cached reads answered from memory (local) or Valkey (shared).",
        Some(("level", "local")),
        |c| c.local_hits,
    ),
    (HITS, "", Some(("level", "shared")), |c| c.hits),
    (
        "fia_api_cache_misses_total",
        "Cached reads that neither memory nor Valkey could answer; a few too many under load.",
        None,
        misses,
    ),
    (
        "fia_api_cache_stale_served_total",
        "Cached reads answered with a last known value because its origin was away.",
        None,
        |c| c.stale,
    ),
    (
        "fia_api_cache_joins_total",
        "Cached reads that waited for another one's look-up of the same key.",
        None,
        |c| c.joins,
    ),
    (
        "fia_api_cache_flights_total",
        "Look-ups beyond memory, each for all that waited for it.",
        None,
        |c| c.flights,
    ),
    (
        "fia_api_cache_loads_total",
        "Questions to the origin.",
        None,
        |c| c.loads,
    ),
    (
        "fia_api_cache_load_failures_total",
        "Questions to the origin that failed.",
        None,
        |c| c.load_failures,
    ),
    (
        "fia_api_cache_fills_total",
        "Loaded values that were stored in Valkey.",
        None,
        |c| c.fills,
    ),
    (
        CONFLICTS,
        "Fills refused because the key had changed; look-ups that met another one's lease; those that met a write's fence.",
        Some(("kind", "fill_refused")),
        |c| c.fills_refused,
    ),
    (CONFLICTS, "", Some(("kind", "lease")), |c| c.leases_met),
    (CONFLICTS, "", Some(("kind", "fence")), |c| c.fences_met),
    (
        BYPASSES,
        "Look-ups past Valkey: because it was away, or an invalidation of the key was owed.",
        Some(("reason", "away")),
        |c| c.without_shared,
    ),
    (BYPASSES, "", Some(("reason", "owed")), |c| c.owed),
    (
        "fia_api_cache_refreshes_total",
        "Values loaded anew before their time to live ended.",
        None,
        |c| c.refreshes,
    ),
    (
        "fia_api_cache_refreshes_refused_total",
        "Of these, those that were not stored.",
        None,
        |c| c.refreshes_refused,
    ),
    (
        "fia_api_cache_rejected_entries_total",
        "Entries in Valkey that could not be used.",
        None,
        |c| c.rejected,
    ),
    (
        "fia_api_cache_samples_total",
        "Answers from memory that were compared with the database.",
        None,
        |c| c.samples,
    ),
    (
        "fia_api_cache_samples_stale_total",
        "Of these, those that were out of date: 0 if all is well.",
        None,
        |c| c.samples_stale,
    ),
    (
        "fia_api_cache_guarded_total",
        "Older values found in Valkey after a write, and invalidated.",
        None,
        |c| c.guarded,
    ),
    (
        "fia_api_cache_writes_total",
        "Writes of cached values.",
        None,
        |c| c.writes,
    ),
    (
        "fia_api_cache_fences_lost_total",
        "Writes whose fence Valkey did not acknowledge.",
        None,
        |c| c.fences_lost,
    ),
    (
        "fia_api_cache_invalidations_lost_total",
        "Invalidations that Valkey did not confirm at once; they are made up for.",
        None,
        |c| c.fins_lost,
    ),
];

const HITS: &str = "fia_api_cache_hits_total";
const CONFLICTS: &str = "fia_api_cache_conflicts_total";
const BYPASSES: &str = "fia_api_cache_bypasses_total";

const SHARED_UP: &str = "fia_api_cache_shared_up";
const TRACKING_UP: &str = "fia_api_cache_tracking_up";
const TRACKING_AGE: &str = "fia_api_cache_tracking_age_seconds";
const LOCAL_BYTES: &str = "fia_api_cache_local_bytes";
const LOCAL_ENTRIES: &str = "fia_api_cache_local_entries";
const BREAKER_OPENINGS: &str = "fia_api_cache_breaker_openings_total";
const OWED: &str = "fia_api_cache_owed_invalidations";

/// What goes up and down.
const GAUGES: [(&str, Unit, &str); 6] = [
    (
        SHARED_UP,
        Unit::Count,
        "Whether Valkey is in use as a cache; absent if it never is.",
    ),
    (
        TRACKING_UP,
        Unit::Count,
        "Whether Valkey tells of changes, so that memory is used; absent if it never is.",
    ),
    (
        TRACKING_AGE,
        Unit::Seconds,
        "For how long it has told of changes; 0 if it does not.",
    ),
    (
        LOCAL_BYTES,
        Unit::Bytes,
        "What the values kept in memory take.",
    ),
    (LOCAL_ENTRIES, Unit::Count, "The values kept in memory."),
    (
        OWED,
        Unit::Count,
        "Keys whose invalidation waits for Valkey.",
    ),
];

pub(super) fn describe() {
    for (name, meaning, ..) in OF_CLASSES {
        if !meaning.is_empty() {
            describe_counter!(name, Unit::Count, meaning);
        }
    }
    for (name, unit, meaning) in GAUGES {
        describe_gauge!(name, unit, meaning);
    }
    describe_counter!(
        BREAKER_OPENINGS,
        Unit::Count,
        "Times that Valkey was found to be away."
    );
}

/// Takes the numbers.
pub(super) fn take(cache: &Snapshot) {
    for stats in &cache.classes {
        for (name, _, label, value) in OF_CLASSES {
            let counter = match label {
                None => counter!(name, "class" => stats.class),
                Some((key, label)) => counter!(name, "class" => stats.class, key => label),
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
    gauge!(OWED).set(cache.owed_invalidations as f64);
}

/// The counts are taken one by one, and of requests under way the outcome is not known yet: those
/// count as misses at that moment. As a counter does not go back, a few may stay.
fn misses(stats: &ClassStats) -> u64 {
    let answered = stats.local_hits + stats.hits + stats.stale;
    stats.requests.saturating_sub(answered)
}
