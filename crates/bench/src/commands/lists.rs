//! Latency and query plans of lists, filters and counts over many jobs, uncached.

use std::path::Path;
use std::time::Instant;

use devstack::{Api, Stack, add_jobs, tokens};
use serde_json::{Value, json};

use super::client::Connection;
use super::combinations;
use super::list_targets::{ORDERS, encoded};
use super::plans::Plans;
use super::server::database_settings;
use super::{long_list, milliseconds, start};
use crate::Outcome;

/// How often each request is timed, after one warm-up.
const TIMES: usize = 5;

/// A database of many jobs and an uncached server on it.
struct Fixture {
    _stack: Stack,
    plans: Plans,
    api: Api,
}

/// What is measured.
#[derive(clap::Args)]
pub(super) struct Options {
    /// Number of jobs in the database.
    #[arg(long, default_value_t = 1_000_000)]
    jobs: u32,
    /// Measures random combinations of filters, orders, offsets and scopes over data of this shape
    /// instead.
    #[arg(long)]
    distribution: Option<combinations::Shape>,
    /// The seed of the data and of the combinations.
    #[arg(long, default_value_t = 1)]
    seed: u32,
    /// Number of combinations.
    #[arg(long, default_value_t = 500)]
    combinations: usize,
    /// How many of the slowest pages and counts are printed with their plans.
    #[arg(long, default_value_t = 5)]
    slowest: usize,
    /// Does not create the list table.
    #[arg(long)]
    without_list_table: bool,
}

pub(super) async fn run(server: &Path, options: Options) -> Outcome {
    let jobs = options.jobs;
    if let Some(shape) = options.distribution {
        let plan = combinations::Plan {
            shape,
            seed: options.seed,
            combinations: options.combinations,
            list_table: !options.without_list_table,
            slowest: options.slowest,
        };
        return combinations::run(server, jobs, plan).await;
    }
    let postgres = Plans::explaining().start().await?;
    eprintln!("Adding {jobs} jobs …");
    add_jobs(&postgres, "fia", jobs).await?;
    let stack = Stack::builder().upstreams().start().await?;
    let mut env = stack.env();
    let settings = database_settings(&postgres);
    env.extend(
        settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone())),
    );
    Api::run_command(server, &["schema", "--indexes", "--apply"], &env).await?;
    let client = postgres.connect("fia").await?;
    client.batch_execute("VACUUM ANALYZE").await?;
    let fixture = Fixture {
        api: start(server, &stack, &settings).await?,
        _stack: stack,
        plans: Plans::of(postgres),
    };
    println!("{jobs} jobs, uncached; the median of {TIMES} responses after a warm-up\n");
    fixture.pages("/jobs").await?;
    fixture.pages("/instrument/MARI/jobs").await?;
    fixture.filters().await?;
    long_list::run(&fixture.api).await
}

/// The filters to time, of every kind: with many matches and few, near the head of the list and
/// far from it.
fn filters() -> Vec<Value> {
    vec![
        json!({"instrument_in": ["MARI"]}),
        json!({"instrument_in": ["ALF", "LOQ", "MARI"]}),
        json!({"job_state_in": ["ERROR"]}),
        json!({"job_state_in": ["ERROR", "SUCCESSFUL"]}),
        json!({"experiment_number_in": [3_000_001, 3_000_100]}),
        json!({"experiment_number_before": 3_000_100}),
        json!({"experiment_number_after": 3_000_100}),
        json!({"title": "vanadium spin 7K"}),
        json!({"title": "echo"}),
        json!({"title": "no such title"}),
        json!({"filename": "MARI00001"}),
        json!({"filename": "no such file"}),
        json!({"job_start_before": "2016-01-01T00:00:00.000Z"}),
        json!({"job_start_after": "2025-01-01T00:00:00.000Z"}),
        json!({"job_end_before": "2020-01-01T00:00:00.000Z"}),
        json!({"job_end_after": "2025-01-01T00:00:00.000Z"}),
        json!({"run_start_before": "2016-01-01T00:00:00.000Z"}),
        json!({"run_start_after": "2025-01-01T00:00:00.000Z"}),
        json!({"run_end_before": "2020-01-01T00:00:00.000Z"}),
        json!({"run_end_after": "2025-01-01T00:00:00.000Z"}),
        json!({"instrument_in": ["MARI"], "job_state_in": ["ERROR"], "title": "spin"}),
    ]
}

impl Fixture {
    async fn pages(&self, list: &str) -> Outcome {
        println!("\n| `{list}?limit=25&include_run=true`, order | offset | ms | plan |");
        println!("|---|---|---|---|");
        for order in ORDERS {
            for direction in ["desc", "asc"] {
                for offset in [0, 10_000] {
                    let query = format!("order_by={order}&order_direction={direction}");
                    let path = format!("{list}?limit=25&include_run=true&{query}&offset={offset}");
                    let (took, _) = self.time(&path).await?;
                    let plan = self.plans.last()?;
                    println!("| {order} {direction} | {offset} | {took:.1} | {plan} |");
                }
            }
        }
        Ok(())
    }

    async fn filters(&self) -> Outcome {
        println!("\n| filters | page ms | plan | jobs | count ms | plan |");
        println!("|---|---|---|---|---|---|");
        for filters in std::iter::once(json!({})).chain(filters()) {
            let query = format!("filters={}", encoded(&filters.to_string()));
            let page = format!("/jobs?limit=25&include_run=true&{query}");
            let (page_took, _) = self.time(&page).await?;
            let page_plan = self.plans.last()?;
            let (count_took, body) = self.time(&format!("/jobs/count?{query}")).await?;
            let count_plan = self.plans.last()?;
            let body: Value = serde_json::from_slice(&body)?;
            let count = &body["count"];
            println!(
                "| `{filters}` | {page_took:.1} | {page_plan} | {count} | {count_took:.1} | {count_plan} |"
            );
        }
        Ok(())
    }

    /// Returns the median latency in milliseconds, and the body.
    async fn time(&self, path: &str) -> Outcome<(f64, Vec<u8>)> {
        let authorization = format!("Bearer {}", tokens::API_KEY);
        let mut connection = Connection::open(self.api.addr(), &authorization).await?;
        let mut took = Vec::new();
        let mut body = Vec::new();
        for round in 0..=TIMES {
            let began = Instant::now();
            let response = connection.get(path).await?;
            if response.status != 200 {
                return Err(format!("{path}: {}", response.status).into());
            }
            body = response.body;
            if round > 0 {
                took.push(began.elapsed());
            }
        }
        took.sort();
        Ok((milliseconds(took[TIMES / 2]), body))
    }
}
