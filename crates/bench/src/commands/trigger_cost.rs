//! The time of a new job with the triggers of the list table and the change feed, and without.

use std::path::Path;
use std::time::{Duration, Instant};

use devstack::{Api, Stack};
use serde_json::json;

use super::client::Connection;
use super::new_jobs::{DATABASE, bearer};
use super::{milliseconds, start};
use crate::Outcome;

/// The rounds, in which each side creates jobs.
const ROUNDS: usize = 10;
/// The greatest ratio of the times.
const MAX_RATIO: f64 = 1.3;
/// The instrument of the jobs, which has a script at the stand-in for GitHub.
const INSTRUMENT: &str = "INSERT INTO instruments (instrument_name, live_data_support) \
     VALUES ('TEST', false) ON CONFLICT DO NOTHING";

pub(super) async fn run(server: &Path, jobs: usize) -> Outcome {
    let mut sides = [
        Side::start(server, false).await?,
        Side::start(server, true).await?,
    ];
    for round in 0..ROUNDS {
        for side in &mut sides {
            side.create(round * jobs, jobs / ROUNDS).await?;
        }
    }
    println!("`POST /job/autoreduction` of {jobs} jobs, one after the other, in {ROUNDS} rounds\n");
    println!("| triggers | p50 ms | p99 ms | mean ms |\n|---|---|---|---|");
    let mut means = Vec::new();
    for (name, side) in ["without", "with"].into_iter().zip(&mut sides) {
        side.waits.sort();
        let at = |part: usize| milliseconds(side.waits[(side.waits.len() - 1) * part / 100]);
        let total: Duration = side.waits.iter().sum();
        let mean = milliseconds(total) / side.waits.len() as f64;
        println!("| {name} | {:.2} | {:.2} | {mean:.2} |", at(50), at(99));
        means.push(mean);
    }
    let ratio = means[1] / means[0];
    println!("\nwith / without: {ratio:.2} (at most {MAX_RATIO})");
    if ratio > MAX_RATIO {
        return Err("a new job takes too long with the triggers".into());
    }
    Ok(())
}

/// A server on a database of its own.
struct Side {
    _stack: Stack,
    _api: Api,
    connection: Connection,
    waits: Vec<Duration>,
}

impl Side {
    async fn start(server: &Path, triggers: bool) -> Outcome<Self> {
        let stack = Stack::builder().postgres().rabbitmq().upstreams();
        let stack = stack.start().await?;
        let mut commands = vec![
            vec!["schema", "--apply"],
            vec!["schema", "--indexes", "--apply"],
        ];
        if triggers {
            commands.push(vec!["schema", "--lists", "--apply"]);
            commands.push(vec!["schema", "--change-feed", "--apply"]);
        }
        for command in commands {
            Api::run_command(server, &command, &stack.env()).await?;
        }
        let postgres = stack.postgres().ok_or("no PostgreSQL")?;
        let client = postgres.connect(DATABASE).await?;
        client.batch_execute(INSTRUMENT).await?;
        let api = start(server, &stack, &[]).await?;
        let connection = Connection::open(api.addr(), &bearer()).await?;
        Ok(Self {
            _stack: stack,
            _api: api,
            connection,
            waits: Vec::new(),
        })
    }

    async fn create(&mut self, first: usize, count: usize) -> Outcome {
        for number in first..first + count {
            let body = json!({
                "filename": format!("/triggers/{number}.nxs"), "rb_number": "1820497",
                "instrument_name": "TEST", "title": "triggers", "users": "nobody",
                "run_start": "2024-01-01 10:00:00", "run_end": "2024-01-01 11:00:00",
                "good_frames": 1, "raw_frames": 2, "additional_values": {}, "runner_image": "bench",
            });
            let sent = Instant::now();
            let path = "/job/autoreduction";
            let response = self.connection.post(path, &body.to_string()).await?;
            self.waits.push(sent.elapsed());
            if response.status != 201 {
                return Err(format!("a new job returned {}", response.status).into());
            }
        }
        Ok(())
    }
}
