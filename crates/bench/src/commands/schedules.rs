//! Random schedules of reads, writes and faults, checked for consistency.

use std::path::Path;
use std::time::Duration;

use fia_bench::schedules::{Plan, run as run_plan};

use crate::Outcome;

pub(super) async fn run(server: &Path, seconds: u64, seed: Option<u64>) -> Outcome {
    let seed = seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    println!("seed {seed}");
    let plan = Plan {
        busy: Duration::from_secs(seconds),
        seed,
        guard: seed % 2 == 1,
        inject_stale_fill: false,
    };
    let report = run_plan(server, plan).await?;
    println!("{report}");
    match report.verdict().violations.len() {
        0 => Ok(()),
        count => Err(format!("{count} violations").into()),
    }
}
