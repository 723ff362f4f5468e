//! Random schedules of reads, writes and faults, judged by an oracle: two processes of this
//! server, a stand-in of the older one, one PostgreSQL, one Valkey.
//!
//! `devstack bench schedules` does the same for as long as one likes.

use std::path::Path;
use std::time::Duration;

use devstack::schedules::{Plan, Report, run};

async fn schedule(plan: Plan) -> Report {
    let server = Path::new(env!("CARGO_BIN_EXE_fia-api"));
    run(server, plan).await.unwrap()
}

/// Takes a minute: a fault lasts up to some seconds, and it takes many, in many combinations, to
/// meet the gaps between a write's steps; at the end, what is left of them has to run out (a
/// fence: 10 s). The seed is in the failure's text; with it
/// `devstack bench schedules --seed` makes a similar run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_random_schedule_shows_an_older_value_than_is_promised() {
    let seed = u64::from(rand::random::<u32>());
    let report = schedule(Plan {
        busy: Duration::from_secs(45),
        seed,
        guard: seed % 2 == 1,
        spoiled: false,
    })
    .await;
    let verdict = report.verdict();
    assert!(verdict.violations.is_empty(), "{report}");
    // Else nothing was tried.
    assert!(report.history().writes.len() > 100, "{report}");
    assert!(report.history().faults.len() > 10, "{report}");
    assert!(verdict.lags.iter().any(|lag| lag.answers > 0), "{report}");
}

/// Takes some seconds: for so long old values are stored that the oracle is not told of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_value_that_nobody_admits_is_found_out() {
    let report = schedule(Plan {
        busy: Duration::from_secs(8),
        seed: 1,
        guard: false,
        spoiled: true,
    })
    .await;
    let found = &report.verdict().violations;
    assert!(
        found.iter().any(|found| found.what.contains("although")),
        "{report}"
    );
}
