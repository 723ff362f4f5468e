//! Random schedules of reads, writes and faults, verified by the consistency checker: two
//! servers, a legacy client, one PostgreSQL, one Valkey.
//!
//! `fia-bench schedules` runs the same for longer.

use std::path::Path;
use std::time::Duration;

use fia_bench::schedules::{Plan, Report, run};

use crate::harness::within;

/// Limit of one schedule, its start and the expiry of the last fences included.
const SCHEDULE_LIMIT: Duration = Duration::from_secs(240);

async fn schedule(plan: Plan) -> Report {
    let server = Path::new(env!("CARGO_BIN_EXE_fia-api"));
    within("the report", SCHEDULE_LIMIT, run(server, plan))
        .await
        .unwrap()
}

/// Takes a minute: it takes many faults of up to some seconds, in many combinations, to hit
/// the gaps between a write's steps, and a fence outlives the last fault by up to 10 s. The
/// failure report contains the seed; `fia-bench schedules --seed` makes a similar run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_schedules_meet_the_consistency_bounds() {
    let seed = u64::from(rand::random::<u32>());
    let report = schedule(Plan {
        busy: Duration::from_secs(45),
        seed,
        guard: seed % 2 == 1,
        inject_stale_fill: false,
    })
    .await;
    let verdict = report.verdict();
    assert!(verdict.violations.is_empty(), "{report}");
    // Otherwise the schedule did not exercise anything.
    assert!(report.history().writes.len() > 100, "{report}");
    assert!(report.history().faults.len() > 10, "{report}");
    assert!(verdict.lags.iter().any(|lag| lag.responses > 0), "{report}");
}

/// Takes some seconds: stale fills are injected that the checker does not know of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_injected_stale_fill_is_detected() {
    let report = schedule(Plan {
        busy: Duration::from_secs(8),
        seed: 1,
        guard: false,
        inject_stale_fill: true,
    })
    .await;
    let found = &report.verdict().violations;
    assert!(
        found
            .iter()
            .any(|found| found.description.contains("after the write of")),
        "{report}"
    );
}
