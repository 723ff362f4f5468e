//! A statement that changes all jobs, with the triggers of the change feed and without.

use std::path::Path;
use std::time::{Duration, Instant};

use devstack::{Api, Stack, add_jobs};

use crate::Outcome;
use crate::commands::new_jobs::DATABASE;

const ROUNDS: u32 = 3;
/// The time with triggers, of the time without.
const BOUND: f64 = 1.2;

pub(super) async fn run(server: &Path, jobs: u32) -> Outcome<(&'static str, bool)> {
    let stack = Stack::builder().postgres().start().await?;
    let postgres = stack.postgres().ok_or("no PostgreSQL")?;
    add_jobs(postgres, DATABASE, jobs).await?;
    let feed = ["schema", "--change-feed", "--apply"];
    Api::run_command(server, &feed, &stack.env()).await?;
    let client = postgres.connect(DATABASE).await?;
    client.batch_execute("LISTEN fia_api_jobs").await?;
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        for (switch, times) in ["DISABLE", "ENABLE"].iter().zip(&mut times) {
            client
                .batch_execute(&format!(
                    "ALTER TABLE jobs {switch} TRIGGER USER; CHECKPOINT"
                ))
                .await?;
            let begun = Instant::now();
            let update = format!("UPDATE jobs SET status_message = 'round {round}'");
            client.batch_execute(&update).await?;
            times.push(begun.elapsed());
            // Each begins with the same number of dead rows.
            client.batch_execute("VACUUM jobs").await?;
        }
    }
    let best = |times: &[Duration]| {
        times
            .iter()
            .min()
            .copied()
            .unwrap_or_default()
            .as_secs_f64()
    };
    let (without, with) = (best(&times[0]), best(&times[1]));
    println!(
        "\nUPDATE of {jobs} jobs: {without:.1} s without triggers, {with:.1} s with, ratio {:.2}\n",
        with / without
    );
    Ok((
        "one statement for all jobs takes at most 1.2 times as long",
        with <= without * BOUND,
    ))
}
