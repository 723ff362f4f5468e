//! Random fault schedules and the consistency checker.
//!
//! [`schedules`] runs two replicas of the service while their dependencies fail at random and
//! records every request. [`checker`] finds the responses in that history that are staler, slower
//! or less available than the service guarantees.

pub mod checker;
pub mod schedules;

/// The settings of the service that set the TTL of a cached read of its own data; a test of the
/// service checks that the list is complete.
pub const TTL_VARIABLES: [&str; 6] = [
    "LIVE_DATA_INSTRUMENTS_CACHE_TTL_SECONDS",
    "LIVE_DATA_SCRIPT_CACHE_TTL_SECONDS",
    "INSTRUMENT_SPEC_CACHE_TTL_SECONDS",
    "INSTRUMENT_LATEST_RUN_CACHE_TTL_SECONDS",
    "JOB_LIST_CACHE_TTL_SECONDS",
    "JOB_COUNT_CACHE_TTL_SECONDS",
];
